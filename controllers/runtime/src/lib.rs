//! What every controller stands on: store trait, watch cache, queue, leader election, disk state
