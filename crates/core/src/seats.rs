//! A small ordered map from seats to calls: empty and one-element maps allocate nothing.
//! It does not know what a seat stands for.

use crate::sorted::Sorted;

/// A place in the order of a run: (run, place). Seats of different runs never mix.
pub(crate) type Seat = (u32, u64);

/// An ordered map from seats to slots of calls.
#[derive(Debug, Default)]
pub(crate) enum SeatMap {
    #[default]
    Empty,
    One(Seat, u32),
    Many(Sorted<(Seat, u32)>),
}

impl SeatMap {
    pub(crate) fn insert(&mut self, seat: Seat, slot: u32) {
        match self {
            SeatMap::Empty => *self = SeatMap::One(seat, slot),
            SeatMap::One(s, _) if *s == seat => *self = SeatMap::One(seat, slot),
            SeatMap::One(s, v) => {
                let mut many = Sorted::default();
                many.insert((*s, *v));
                many.insert((seat, slot));
                *self = SeatMap::Many(many);
            }
            SeatMap::Many(many) => many.insert((seat, slot)),
        }
    }

    /// Whether the seat was there.
    pub(crate) fn remove(&mut self, seat: Seat) -> bool {
        match self {
            SeatMap::One(s, _) if *s == seat => {
                *self = SeatMap::Empty;
                true
            }
            SeatMap::Empty | SeatMap::One(..) => false,
            SeatMap::Many(many) => {
                let Some(entry) = many.first_from((seat, 0)).filter(|entry| entry.0 == seat) else { return false };
                many.remove(entry);
                if many.is_empty() {
                    *self = SeatMap::Empty;
                }
                true
            }
        }
    }

    /// The first seat of a run.
    pub(crate) fn first_of(&self, run: u32) -> Option<(Seat, u32)> {
        let first = match self {
            SeatMap::Empty => return None,
            SeatMap::One(s, v) => (*s, *v),
            SeatMap::Many(many) => many.first()?,
        };
        let first = if first.0.0 < run { self.first_from((run, 0)) } else { Some(first) };
        first.filter(|(s, _)| s.0 == run)
    }

    /// The first entry that is not before `seat`.
    pub(crate) fn first_from(&self, seat: Seat) -> Option<(Seat, u32)> {
        match self {
            SeatMap::Empty => None,
            SeatMap::One(s, v) => (*s >= seat).then_some((*s, *v)),
            SeatMap::Many(many) => many.first_from((seat, 0)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, SeatMap::Empty)
    }

    /// All entries, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seat, u32)> + '_ {
        let one = match self {
            SeatMap::One(s, v) => Some((*s, *v)),
            _ => None,
        };
        let many = match self {
            SeatMap::Many(many) => Some(many.iter()),
            _ => None,
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
