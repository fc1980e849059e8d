//! The terminal of the person: as it is for a command that has one of its own, and as it was afterwards.

use std::io::{IsTerminal, stdin, stdout};

use evenkeel_sessions::Size;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// While it lives, keys go where they are meant to, unseen and at once; then the terminal is as before.
pub struct Raw(Termios);

impl Raw {
    /// Takes the terminal.
    ///
    /// # Errors
    /// There is none.
    pub fn take() -> Result<Self, Failure> {
        if !stdin().is_terminal() {
            return Err(Failure::new("there is no terminal here: leave out -t"));
        }
        let before = tcgetattr(stdin()).map_err(Failure::new)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin(), SetArg::TCSADRAIN, &raw).map_err(Failure::new)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // At once: a terminal that a person has stopped drains nothing.
        let _gone = tcsetattr(stdin(), SetArg::TCSANOW, &self.0);
    }
}

/// How large it is.
pub fn size() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    Some(Size { columns: size.ws_col, rows: size.ws_row }).filter(|size| size.columns > 0 && size.rows > 0)
}
