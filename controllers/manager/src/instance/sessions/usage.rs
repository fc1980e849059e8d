//! What the copies of this host use.

use std::time::Duration;

use evenkeel_api::name::ServiceId;
use evenkeel_api::session::Usage;
use evenkeel_engine::Inside;
use evenkeel_plan::instance::container::ContainerState;
use evenkeel_sessions::Frame;
use futures_util::{StreamExt, stream};

use super::{Ended, Ends};

/// Between two rounds; each takes about a second more, which the engine measures over.
const EVERY: Duration = Duration::from_millis(1000);
/// Copies that are measured at a time.
const AT_ONCE: usize = 16;
/// Copies in one answer: it fits into a frame.
const IN_ONE: usize = 200;

/// One round or many, each ended by an empty answer.
pub(super) async fn serve(
    engine: &dyn Inside,
    uid: &str,
    service: Option<&ServiceId>,
    follow: bool,
    ends: &mut Ends,
) -> Result<i64, Ended> {
    let sender = ends.sender.clone();
    let rounds = async {
        loop {
            let used = round(engine, uid, service).await?;
            for answer in used.chunks(IN_ONE).chain([&[][..]]) {
                let answer = serde_json::to_vec(answer).map_err(|error| Ended::Why(error.to_string()))?;
                sender.send(Frame::Answer(answer.into())).await?;
            }
            if !follow {
                return Ok(0);
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        done = rounds => done,
        gone = async { loop { if let Err(gone) = ends.receiver.receive().await { break gone } } } => Err(gone.into()),
    }
}

async fn round(engine: &dyn Inside, uid: &str, service: Option<&ServiceId>) -> Result<Vec<Usage>, Ended> {
    let containers = engine.containers(uid).await?;
    let running = containers.into_iter().filter(|container| container.state == ContainerState::Running);
    let wanted = running.filter_map(|container| {
        let copy =
            container.instance().filter(|copy| service.is_none_or(|service| copy.service == *service))?;
        Some((copy, container.id))
    });
    let used = stream::iter(wanted.collect::<Vec<_>>()).map(|(copy, id)| async move {
        match engine.usage(&id).await {
            Ok(used) => Some(Usage { copy, cpu: used.cpu, memory: used.memory, limit: used.limit }),
            // It ended meanwhile.
            Err(error) => {
                tracing::debug!(%copy, %error, "a copy is not measured");
                None
            }
        }
    });
    Ok(used.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await)
}
