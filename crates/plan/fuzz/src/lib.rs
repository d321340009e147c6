//! What the fuzz targets run.
//! It does not know where the bytes come from.

pub mod entry;
