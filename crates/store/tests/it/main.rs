//! The store as a driver uses it, and what becomes of it when something breaks.
//! It does not know any run's meaning: facts are only counted and compared.

mod answers;
mod cache;
mod child;
mod damage;
mod disk;
mod golden;
mod journal;
mod kill;
mod made;
mod prune;
