//! The wire between services, and the form of what is stored.
