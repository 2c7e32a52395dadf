//! The view, presence and membership over Redis.
