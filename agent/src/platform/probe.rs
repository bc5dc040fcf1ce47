//! Whether this process gets a session token of the instance metadata service (IMDSv2): a job must not.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

/// Where every instance has it.
const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))];

/// A rule that rejects answers at once; one that drops makes the probe wait this long.
const TIMEOUT: Duration = Duration::from_secs(2);

const REQUEST: &[u8] = b"PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\n\
    X-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A job's user gets an answer of the metadata service.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the instance metadata service at {address} answered a job's user: {status}")]
pub struct MetadataReachable {
    /// Where.
    pub address: IpAddr,
    /// The first line of the answer.
    pub status: String,
}

/// Tries it at both addresses. `Ok` says that none of them answered.
///
/// # Errors
/// One did.
pub fn metadata() -> Result<(), MetadataReachable> {
    for address in ADDRESSES {
        // Any answer is too much: a service that says 403 today is reachable.
        if let Ok(answer) = ask(SocketAddr::new(address, 80))
            && !answer.is_empty()
        {
            let status = answer.lines().next().unwrap_or_default().to_owned();
            return Err(MetadataReachable { address, status });
        }
    }
    Ok(())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    // Only whether there is one matters; the token itself is not kept.
    stream.take(64).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
