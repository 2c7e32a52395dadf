//! The state of a partition: a changelog in front, a view behind.
