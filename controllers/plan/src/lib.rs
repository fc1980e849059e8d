//! The pure decisions of every evenkeel controller
