//! Faults that can be planted in the core, to see that the simulation finds them (STYLE: test the tests).
//! It does not know where they are planted; without the feature `sim` none can be.

/// A fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "sim"), allow(unreachable_pub, dead_code, reason = "only the simulation names it"))]
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
    StartNotAwaited,
    RepeatNotAwaited,
    FailedLaunches,
    LostWriteRerun,
    LostLeavesPlace,
    RecoveredLeavesPlace,
    FinishedTwice,
    CancelForgotten,
    DeadlineForgotten,
    RecoveringAdmits,
    LegalityDropped,
    ResolvedForgotten,
    ApprovalSkipped,
    ApprovalLeavesPlace,
    DeniedKeepsPlace,
    WriteStartKeeps,
    WriteEndKeeps,
    HandedAcrossWrite,
    ArgumentForgotten,
    FailureKept,
    KeptInDoubt,
    JoinedTakesAmounts,
    JoinedLeavesPlace,
    FlightNotJoined,
    CancelAbortsJoined,
    ExpiredHandedOn,
    ResultCrossesRuns,
    ReuseForgotten,
    KeptUnderWriter,
    StruckFlightJoined,
    ForgottenTooEarly,
    NeverForgotten,
    DiskWriteKeeps,
    DoubtClosedOnDisk,
    LookedBeforeTurn,
    VersionForgotten,
    StoredAcrossWrite,
    StoreUnstamped,
    OldFoundOnDisk,
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
        (Fault::StartNotAwaited, "a write starts before its record is on disk"),
        (Fault::RepeatNotAwaited, "the record of a write that may be repeated is not waited for"),
        (Fault::FailedLaunches, "a write starts although its record could not be kept"),
        (Fault::LostWriteRerun, "a lost write is run again without a doubt"),
        (Fault::LostLeavesPlace, "a lost attempt releases its place"),
        (Fault::RecoveredLeavesPlace, "a recovered start forgets its place"),
        (Fault::FinishedTwice, "an end is accepted twice in recovery"),
        (Fault::CancelForgotten, "a recorded cancel is forgotten"),
        (Fault::DeadlineForgotten, "a recorded deadline is forgotten"),
        (Fault::RecoveringAdmits, "a recovered run goes on before all was told"),
        (Fault::LegalityDropped, "a record is not checked for legality"),
        (Fault::ResolvedForgotten, "the place of a resolution that ends a call is not recorded"),
        (Fault::ApprovalSkipped, "nobody is asked for approval after a crash"),
        (Fault::ApprovalLeavesPlace, "a call that waits for approval leaves its place"),
        (Fault::DeniedKeepsPlace, "a denied call keeps its place"),
        (Fault::WriteStartKeeps, "results stay when a write of what they read starts"),
        (Fault::WriteEndKeeps, "results stay when a write of what they read, or a doubt about one, ends"),
        (Fault::HandedAcrossWrite, "a result is handed on before the call's turn has come"),
        (Fault::ArgumentForgotten, "an identity forgets an argument"),
        (Fault::FailureKept, "a failure is kept as a result"),
        (Fault::KeptInDoubt, "a result is kept while what it read is in doubt"),
        (Fault::JoinedTakesAmounts, "a call that joins a flight takes amounts"),
        (Fault::JoinedLeavesPlace, "a call that joins a flight leaves its place"),
        (Fault::FlightNotJoined, "nobody joins a flight"),
        (Fault::CancelAbortsJoined, "cancelling a leader aborts the flight that others have joined"),
        (Fault::ExpiredHandedOn, "a result that is too old is handed on"),
        (Fault::ResultCrossesRuns, "a result of one run is handed to another that wants its own only"),
        (Fault::ReuseForgotten, "that a call was handed a result is not recorded"),
        (Fault::KeptUnderWriter, "a result is kept while the attempt around its run writes what it read"),
        (Fault::StruckFlightJoined, "a write leaves flights as they are"),
        (Fault::ForgottenTooEarly, "a call is forgotten while another still takes it"),
        (Fault::NeverForgotten, "a call that another took is never forgotten"),
        (Fault::DiskWriteKeeps, "a write does not drop results on disk before it starts"),
        (Fault::DoubtClosedOnDisk, "a result is stored on disk while what it read is in doubt"),
        (Fault::LookedBeforeTurn, "a result on disk is handed on before the call's turn has come"),
        (Fault::VersionForgotten, "an identity forgets the version of the tool"),
        (Fault::StoredAcrossWrite, "a result is stored on disk although a write came after the look"),
        (Fault::StoreUnstamped, "a result is stored on disk with the stamp of its end, not of its look"),
        (Fault::OldFoundOnDisk, "a result on disk that is too old is handed on"),
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
