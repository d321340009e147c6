//! Faults that can be planted in the core, to see that the simulation finds them (STYLE: test the tests).
//! It does not know where they are planted; without the feature `sim` none can be.

/// A fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "sim"), allow(unreachable_pub, reason = "only the simulation names it"))]
#[allow(missing_docs, reason = "the names are listed with their meaning in `Fault::ALL`")]
pub enum Fault {
    UnresolvedOverlapsNothing,
    ElementsLast,
    AncestorMissed,
    SiblingOverlaps,
    SubtreeMissed,
    PlaceLostInBackoff,
    SkippedKeepsPlace,
    StaleAttemptAccepted,
    PermitLeakedInBackoff,
    StopLetsWriteThrough,
    ReaderCheckDropped,
    AgeingOff,
    ReservationOff,
    DoubtReleasesAtOnce,
    LimitOffByOne,
    WriteRetried,
    RootReaderIgnored,
    RateIgnored,
    WakeLost,
    OtherRunIgnored,
    ParentLeavesEarly,
    DrainStarts,
    InputSkipped,
    FailureHidesSkip,
}

#[cfg(feature = "sim")]
impl Fault {
    /// Every fault with what it does.
    pub const ALL: &'static [(Fault, &'static str)] = &[
        (Fault::UnresolvedOverlapsNothing, "an unresolved key overlaps nothing"),
        (Fault::ElementsLast, "elements are placed last"),
        (Fault::AncestorMissed, "a parent directory is missed"),
        (Fault::SiblingOverlaps, "file:/src overlaps file:/src2"),
        (Fault::SubtreeMissed, "file:/src misses file:/src/a"),
        (Fault::PlaceLostInBackoff, "the place is lost in back-off"),
        (Fault::SkippedKeepsPlace, "a skipped call keeps its place"),
        (Fault::StaleAttemptAccepted, "the report of a stale attempt is accepted"),
        (Fault::PermitLeakedInBackoff, "a permit leaks when cancelled in back-off"),
        (Fault::StopLetsWriteThrough, "on_failure: stop lets a write through"),
        (Fault::ReaderCheckDropped, "a writer does not wait for readers"),
        (Fault::AgeingOff, "nothing ages"),
        (Fault::ReservationOff, "an aged call reserves nothing"),
        (Fault::DoubtReleasesAtOnce, "a doubt releases its keys at once"),
        (Fault::LimitOffByOne, "a limit lets one more through"),
        (Fault::WriteRetried, "a write that reached its tool is retried"),
        (Fault::RootReaderIgnored, "a reader of * waits for nothing"),
        (Fault::RateIgnored, "a rate is not counted"),
        (Fault::WakeLost, "a freed limit wakes nobody"),
        (Fault::OtherRunIgnored, "keys of other runs are ignored"),
        (Fault::ParentLeavesEarly, "a foreach call leaves its place before its elements have theirs"),
        (Fault::DrainStarts, "a drained run still starts what is ready"),
        (Fault::InputSkipped, "a call does not wait for its last input"),
        (Fault::FailureHidesSkip, "what needs a failed result runs all the same"),
    ];
}

/// Which fault is planted, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(feature = "sim")]
    fault: Option<Fault>,
}

impl Planted {
    #[cfg(feature = "sim")]
    pub(crate) fn new(fault: Fault) -> Planted {
        Planted { fault: Some(fault) }
    }

    /// Whether this fault is planted.
    #[inline]
    pub(crate) fn is(self, fault: Fault) -> bool {
        #[cfg(feature = "sim")]
        return self.fault == Some(fault);
        #[cfg(not(feature = "sim"))]
        {
            let _ = fault;
            false
        }
    }
}
