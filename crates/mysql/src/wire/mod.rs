//! The wire: sessions that read rows from the server's packets themselves.
//!
//! Owns commands and answers of the text protocol (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html>), from connecting to saying goodbye. Promises that
//! an answer which ends is whole: whatever else ends it is an error, the driver's own kinds of error, so that both mean the same to whoever asks; and that a row costs a copy
//! into its line and nothing more. Refuses to send files, to run several statements at once, and accounts that its `login` does not know: those are the driver's.

mod login;
mod packets;
mod rows;
#[cfg(test)]
mod server_tests;
mod stream;
#[cfg(test)]
mod tests;

use crate::connection::Record;
use crate::endpoint::Endpoint;
use mysql_async::consts::CapabilityFlags;
use mysql_async::{DriverError, Error};
use mysql_common::io::ParseBuf;
use mysql_common::packets::ErrPacket;
use packets::{Packets, unexpected};
use std::time::Duration;
use stream::Socket;

/// Runs a statement.
const COM_QUERY: u8 = 0x03;
/// Says goodbye.
const COM_QUIT: u8 = 0x01;
/// First bytes of answers.
const OK: u8 = 0x00;
const ERR: u8 = 0xff;
const EOF: u8 = 0xfe;
/// The end of rows is shorter than any row that begins alike.
const EOF_BYTES: usize = 9;
/// More than any server has in one answer.
const MOST_COLUMNS: u64 = 65_535;
/// In an answer's status: another one follows, which only comes of several statements.
const MORE_ANSWERS: u8 = 0x08;
/// How long a server may take to hear that we go.
const FAREWELL: Duration = Duration::from_secs(5);

/// A session of the text protocol.
pub(crate) struct Wire {
    packets: Packets<Box<dyn Socket>>,
    /// Columns of the answer whose rows are not all read.
    columns: Option<usize>,
}

/// Whether an account is beyond this login and may be within the driver's. Nothing that the server refused, no connection that ended.
pub(crate) fn is_for_the_driver(error: &Error) -> bool {
    matches!(
        error,
        Error::Driver(
            DriverError::UnknownAuthPlugin { .. }
                | DriverError::UnexpectedPacket { .. }
                | DriverError::PacketOutOfOrder
                | DriverError::PacketTooLarge
        )
    )
}

impl Wire {
    /// Connects and logs in, encrypted or not.
    ///
    /// # Errors
    /// The driver's own; see [`is_for_the_driver`].
    pub async fn connect(endpoint: &Endpoint, encrypted: bool) -> Result<Self, Error> {
        // What is local is not encrypted: nobody is in between.
        let encrypted = encrypted && endpoint.socket.is_none();
        let stream = stream::open(endpoint).await?;
        let packets = login::login(Packets::new(stream), endpoint, encrypted).await?;
        Ok(Self { packets, columns: None })
    }

    /// Runs a statement and leaves its rows unread.
    pub async fn run(&mut self, sql: &[u8]) -> Result<(), Error> {
        self.ask(sql).await?;
        self.skip().await
    }

    /// All rows of an answer.
    pub async fn rows(&mut self, sql: &[u8]) -> Result<Vec<Record>, Error> {
        self.ask(sql).await?;
        let mut rows = Vec::new();
        while let Some((row, columns)) = self.next_row().await? {
            match rows::values(row, columns) {
                Some(values) => rows.push(Record(values)),
                None => return Err(self.no_row()),
            }
        }
        Ok(rows)
    }

    /// Asks for rows, which come by [`Wire::next_line`].
    ///
    /// # Errors
    /// Also when the answer is none of rows.
    pub async fn select(&mut self, sql: &[u8]) -> Result<(), Error> {
        self.ask(sql).await?;
        match self.columns {
            Some(_) => Ok(()),
            None => Err(self.no_row()),
        }
    }

    /// Runs a statement and reads its answer as far as there are no rows.
    async fn ask(&mut self, sql: &[u8]) -> Result<(), Error> {
        // As the driver does: who no longer wants an answer has to let it pass.
        self.skip().await?;
        let mut command = Vec::with_capacity(sql.len() + 1);
        command.push(COM_QUERY);
        command.extend_from_slice(sql);
        self.packets.command(&command).await?;
        let answer = self.packets.next().await?;
        let columns = match answer.first() {
            Some(&OK) => return Ok(()),
            Some(&ERR) => return Err(refusal(answer, CapabilityFlags::CLIENT_PROTOCOL_41)),
            // A request for a file of ours (0xfb) is none of a number either.
            _ => rows::number(answer).filter(|(columns, rest)| *columns <= MOST_COLUMNS && rest.is_empty()),
        };
        let columns = columns.and_then(|(columns, _)| usize::try_from(columns).ok()).ok_or_else(unexpected);
        let columns = columns.inspect_err(|_| self.packets.give_up())?;
        self.definitions(columns).await?;
        self.columns = Some(columns);
        Ok(())
    }

    /// One message per column, which nobody here asks for, and what ends them.
    async fn definitions(&mut self, columns: usize) -> Result<(), Error> {
        for _ in 0..columns {
            let definition = self.packets.next().await?;
            if definition.first() == Some(&ERR) {
                return Err(refusal(definition, CapabilityFlags::CLIENT_PROTOCOL_41));
            }
        }
        let end = self.packets.next().await?;
        match end.first() {
            Some(&EOF) if end.len() < EOF_BYTES => Ok(()),
            Some(&ERR) => Err(refusal(end, CapabilityFlags::CLIENT_PROTOCOL_41)),
            _ => {
                self.packets.give_up();
                Err(unexpected())
            }
        }
    }

    /// Appends the next row's line. False when there is none.
    pub async fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        match self.next_row().await? {
            None => Ok(false),
            Some((row, columns)) => match rows::push_line(line, row, columns) {
                Some(()) => Ok(true),
                None => Err(self.no_row()),
            },
        }
    }

    /// The next row, and how many columns it must have.
    async fn next_row(&mut self) -> Result<Option<(&[u8], usize)>, Error> {
        let Some(columns) = self.columns else { return Ok(None) };
        self.packets.step().await?;
        match self.packets.message() {
            message @ [ERR, ..] => {
                self.columns = None;
                Err(refusal(message, CapabilityFlags::CLIENT_PROTOCOL_41))
            }
            [EOF, _, _, status, _] if status & MORE_ANSWERS == 0 => {
                self.columns = None;
                Ok(None)
            }
            message @ [EOF, ..] if message.len() < EOF_BYTES => Err(self.no_row()),
            _ => Ok(Some((self.packets.message(), columns))),
        }
    }

    /// Reads what is left of an answer.
    async fn skip(&mut self) -> Result<(), Error> {
        while self.next_row().await?.is_some() {}
        Ok(())
    }

    fn no_row(&mut self) -> Error {
        self.packets.give_up();
        unexpected()
    }
}

/// The server's error.
fn refusal(message: &[u8], capabilities: CapabilityFlags) -> Error {
    // What stands between us and a server may leave out the state; a refusal that is not understood would be tried again by the driver.
    let parsed = ParseBuf(message).parse::<ErrPacket<'_>>(capabilities);
    match parsed.or_else(|_| ParseBuf(message).parse::<ErrPacket<'_>>(CapabilityFlags::empty())) {
        Ok(ErrPacket::Error(error)) => error.into(),
        Ok(ErrPacket::Progress(_)) | Err(_) => unexpected(),
    }
}

/// Servers write down who leaves without a word. Who leaves in the middle of an answer would have to read all of it first.
impl Drop for Wire {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.columns.is_some() || !self.packets.is_whole() {
            return;
        }
        let stream = self.packets.replace(Box::new(tokio::io::empty()));
        runtime.spawn(async move {
            let mut packets = Packets::new(stream);
            // Nobody is left to hear that it went wrong.
            drop(tokio::time::timeout(FAREWELL, packets.command(&[COM_QUIT])).await);
        });
    }
}
