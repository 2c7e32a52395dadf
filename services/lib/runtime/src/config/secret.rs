use std::fmt;
use std::fs::File;
use std::io::Read;

/// Largest secret file, in octets: room for a few hundred keys, and none for a wrong file.
const FILE_LIMIT: u64 = 64 * 1024;

/// A text never to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret from elsewhere than the configuration.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. The caller keeps the text out of logs and errors.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Parses a secret. No message of this function or the next shows its input: a secret may stand in the place of the
/// name of its file.
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
