//! Where events go.

use std::fmt;
use std::str::FromStr;

use icecore_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Where pushed events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// To the online store alone.
    Online,
    /// To the table alone.
    Offline,
    /// To both.
    #[default]
    OnlineAndOffline,
}

impl Target {
    /// Whether the online store gets them.
    #[must_use]
    pub const fn is_online(self) -> bool {
        matches!(self, Self::Online | Self::OnlineAndOffline)
    }

    /// Whether the table gets them.
    #[must_use]
    pub const fn is_offline(self) -> bool {
        matches!(self, Self::Offline | Self::OnlineAndOffline)
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Online => 1,
            Self::Offline => 2,
            Self::OnlineAndOffline => 3,
        }
    }

    pub(crate) fn of_code(code: u8) -> Result<Self> {
        match code {
            1 => Ok(Self::Online),
            2 => Ok(Self::Offline),
            3 => Ok(Self::OnlineAndOffline),
            _ => Err(Error::corrupt("a batch of the queue goes nowhere")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::OnlineAndOffline => "online_and_offline",
        })
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "online" => Ok(Self::Online),
            "offline" => Ok(Self::Offline),
            "online_and_offline" => Ok(Self::OnlineAndOffline),
            _ => Err(Error::invalid(format!("events cannot go to `{}`", text.escape_debug()))
                .with_help("write `online`, `offline` or `online_and_offline`")),
        }
    }
}
