use std::fs;

use anyhow::{Result, bail};

/// Open files that this process needs besides sockets.
const SPARE: u64 = 200;

/// Fails at once when the sockets would exceed the limit of open files, instead of half-way.
pub(super) fn check(sockets: u64) -> Result<()> {
    match soft_limit(&fs::read_to_string("/proc/self/limits").unwrap_or_default()) {
        Some(limit) if sockets + SPARE > limit => bail!(
            "this process may open {limit} files, and {sockets} sockets need {}: raise it with ulimit -n, also \
             where the server is started, or ask for fewer",
            sockets + SPARE
        ),
        Some(_) | None => Ok(()),
    }
}

/// The soft limit of open files in the text of Linux's `/proc/self/limits`; `None` when the text has none.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_first_number_of_its_line() {
        let text = "Max processes             95870                95870                processes\n\
                    Max open files            20000                1048576              files     \n";
        assert_eq!(soft_limit(text), Some(20_000));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }
}
