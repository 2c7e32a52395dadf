//! Tests of the running program: one binary, a module for each behaviour.
