//! A client that hides nothing: one connection, raw requests, raw answers.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key == name).map(|(_, v)| &**v)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn set_timeout(&mut self, limit: Duration) {
        self.0.get_ref().set_read_timeout(Some(limit)).unwrap();
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Reply> {
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        self.0.get_mut().write_all(text.as_bytes())?;
        self.receive()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn receive(&mut self) -> io::Result<Reply> {
        let status = self.line()?.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length: usize = reply.header("content-length").unwrap().parse().unwrap();
        reply.body.resize(length, 0);
        self.0.read_exact(&mut reply.body)?;
        Ok(reply)
    }

    /// A session token of the metadata service.
    pub(crate) fn token(&mut self) -> String {
        let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "60")];
        let reply = self.send("PUT", "/latest/api/token", &ttl, "").unwrap();
        assert_eq!(reply.status, 200);
        reply.text()
    }

    pub(crate) fn get(&mut self, token: &str, path: &str) -> io::Result<Reply> {
        self.send("GET", path, &[("x-aws-ec2-metadata-token", token)], "")
    }

    /// A signed-looking call of a JSON or form service.
    pub(crate) fn call(&mut self, service: &str, action: &str, body: &str) -> io::Result<Reply> {
        let auth = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/eu-central-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let auth = ("authorization", &*auth);
        if service == "ssm" {
            let target = format!("AmazonSSM.{action}");
            let kind = ("content-type", "application/x-amz-json-1.1");
            self.send("POST", "/", &[auth, kind, ("x-amz-target", &target)], body)
        } else {
            let kind = ("content-type", "application/x-www-form-urlencoded");
            let body = format!("Action={action}&{body}");
            self.send("POST", "/", &[auth, kind], &body)
        }
    }
}
