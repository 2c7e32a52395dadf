//! The one suite that every adapter and every model runs.
