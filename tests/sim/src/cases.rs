//! Which cases of docs/faults.md an act tries.

use crate::act::Act;

impl Act {
    /// Their numbers; empty: it breaks nothing, or nothing that is a case.
    pub fn cases(&self) -> Vec<u8> {
        match self {
            Act::Crash(..) => vec![1],
            Act::BadWire(_, wire, _) => {
                let tried = [(2, wire.missed > 0), (3, wire.replayed > 0), (6, wire.lost_answers > 0)];
                tried.into_iter().filter_map(|(case, on)| on.then_some(case)).collect()
            }
            Act::Compact => vec![4],
            Act::MemberLags(..) => vec![5],
            Act::Elect | Act::MemberLost(..) => vec![7],
            Act::StoreDown(_) => vec![8],
            Act::StoreFull(_) => vec![9],
            Act::GoesBack(..) => vec![10],
            Act::LeasesDie => vec![11],
            // Who stood still while another began to lead goes on as if it led.
            Act::Stop(..) => vec![12, 14],
            Act::ClockJumps(..) => vec![13],
            Act::CutOff(..) => vec![16],
            Act::EngineAway(..) => vec![17],
            Act::EngineMute(..) => vec![18],
            Act::EngineHangs(..) | Act::EngineErrors(..) => vec![19],
            Act::DiskFull(..) => vec![20],
            Act::LeaderFreezes(..) | Act::PowerLost(..) => vec![22],
            Act::PersonRemoves(..) | Act::Foreign(..) => vec![23],
            Act::Garbage(_) => vec![24],
            _ => Vec::new(),
        }
    }
}
