//! Which names lead where.
