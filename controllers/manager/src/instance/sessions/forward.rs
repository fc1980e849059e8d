//! A way to a port of a copy: from this host, so that no container needs to publish it.

use std::time::Duration;

use evenkeel_plan::instance::container::Container;
use evenkeel_sessions::{Frame, pipe};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Ended, Ends};

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn serve(container: &Container, port: u16, ends: &mut Ends) -> Result<i64, Ended> {
    let name = &container.name;
    let address = container.addresses.values().next().ok_or_else(|| {
        Ended::Why(format!("{name} has no address of its own: with the host's network, ask at the host's"))
    })?;
    let connected = timeout(PATIENCE, TcpStream::connect((*address, port))).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Ended::Why(format!("{name} does not answer at port {port}: {error}"))),
        Err(_) => return Err(Ended::Why(format!("{name} does not answer at port {port}"))),
    };
    let (from, to) = stream.into_split();
    // What does not listen any more may answer still.
    let _took_all = pipe(&ends.sender, &mut ends.receiver, from, to, Frame::Output).await?;
    Ok(0)
}
