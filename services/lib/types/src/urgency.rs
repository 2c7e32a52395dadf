use std::str::FromStr;

/// Worth of a message in waking a device (RFC 8030 section 5.3), least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Urgency {
    /// Advertisements: on power and Wi-Fi.
    VeryLow,
    /// Topic updates: on either power or Wi-Fi.
    Low,
    /// Chat or calendar messages: on neither.
    #[default]
    Normal,
    /// Incoming call or time-sensitive alert: even on low battery.
    High,
}

/// An urgency field that is none of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Urgency must be one of very-low, low, normal and high")]
pub struct InvalidUrgency;

impl Urgency {
    /// All four, least first: the position of each is its stored form.
    pub const ALL: [Self; 4] = [Self::VeryLow, Self::Low, Self::Normal, Self::High];

    /// The least of all.
    pub const LEAST: Self = Self::VeryLow;

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Position in [`Self::ALL`].
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// The urgency at this position of [`Self::ALL`].
    pub fn from_level(level: u8) -> Option<Self> {
        Self::ALL.get(usize::from(level)).copied()
    }
}

impl FromStr for Urgency {
    type Err = InvalidUrgency;

    /// Any case (RFC 5234 strings).
    fn from_str(text: &str) -> Result<Self, InvalidUrgency> {
        Self::ALL
            .into_iter()
            .find(|urgency| urgency.as_str().eq_ignore_ascii_case(text))
            .ok_or(InvalidUrgency)
    }
}
