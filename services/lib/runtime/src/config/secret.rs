use std::fmt;
use std::fs::File;
use std::io::Read;

/// Largest secret file, in octets: room for a few hundred keys, and none for a wrong file.
const FILE_LIMIT: u64 = 64 * 1024;

/// A text that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret that did not come from the configuration.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Whoever asks for it keeps it out of logs and errors.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Messages of this function and the next never show what they were given: a secret may stand where the name of its
/// file belongs.
pub(super) fn parse(text: &str) -> Result<Secret, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        text => Ok(Secret(text.to_owned())),
    }
}

pub(super) fn read(path: &str) -> Result<Secret, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > FILE_LIMIT => {
            Err(format!("the file that it names is larger than {FILE_LIMIT} octets: is it the right one?"))
        }
        Ok(_) => parse(&text).map_err(|_| "the file that it names is empty".to_owned()),
        Err(error) => Err(format!("the file that it names cannot be read: {error}")),
    }
}
