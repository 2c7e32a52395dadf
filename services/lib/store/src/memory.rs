//! The models: every seam in memory.
