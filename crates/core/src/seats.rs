//! A small ordered map from seats to calls: empty and one-element maps allocate nothing.
//! It does not know what a seat stands for.

use std::collections::BTreeMap;

/// A place in the order of a run: (run, place). Seats of different runs never mix.
pub(crate) type Seat = (u32, u64);

/// An ordered map from seats to slots of calls.
#[derive(Debug, Default)]
pub(crate) enum SeatMap {
    #[default]
    Empty,
    One(Seat, u32),
    #[expect(clippy::box_collection, reason = "there is one of these per line of every key; most are empty")]
    Many(Box<BTreeMap<Seat, u32>>),
}

impl SeatMap {
    pub(crate) fn insert(&mut self, seat: Seat, slot: u32) {
        match self {
            SeatMap::Empty => *self = SeatMap::One(seat, slot),
            SeatMap::One(s, _) if *s == seat => *self = SeatMap::One(seat, slot),
            SeatMap::One(s, v) => {
                let map = BTreeMap::from([(*s, *v), (seat, slot)]);
                *self = SeatMap::Many(Box::new(map));
            }
            SeatMap::Many(map) => {
                map.insert(seat, slot);
            }
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
            SeatMap::Many(map) => {
                let was = map.remove(&seat).is_some();
                if map.is_empty() {
                    *self = SeatMap::Empty;
                }
                was
            }
        }
    }

    /// The first seat of a run.
    pub(crate) fn first_of(&self, run: u32) -> Option<(Seat, u32)> {
        self.first_from((run, 0)).filter(|(s, _)| s.0 == run)
    }

    /// The first entry that is not before `seat`.
    pub(crate) fn first_from(&self, seat: Seat) -> Option<(Seat, u32)> {
        match self {
            SeatMap::Empty => None,
            SeatMap::One(s, v) => (*s >= seat).then_some((*s, *v)),
            SeatMap::Many(map) => map.range(seat..).next().map(|(s, v)| (*s, *v)),
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
            SeatMap::Many(map) => Some(map.iter().map(|(s, v)| (*s, *v))),
            _ => None,
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
