//! Dates as HTTP and maintenance events write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::HeaderValue;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

struct Parts {
    weekday: &'static str,
    day: u64,
    month: &'static str,
    year: u64,
    clock: String,
}

fn parts(time: SystemTime) -> Parts {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let days = seconds / 86_400;
    // Counts in eras of 400 years that begin on the first of March of year 0.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = (from_march + 2) % 12;
    let pick = |names: &'static [&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| names.get(at)).map_or("", |name| *name)
    };
    Parts {
        weekday: pick(&DAYS, days % 7),
        day: of_year - (153 * from_march + 2) / 5 + 1,
        month: pick(&MONTHS, month),
        year: year_of_era + era * 400 + u64::from(month < 2),
        clock: format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60),
    }
}

/// `Tue, 31 Mar 2026 16:34:24 GMT`, for a date header.
pub(crate) fn http_date(time: SystemTime) -> String {
    let Parts { weekday, day, month, year, clock } = parts(time);
    format!("{weekday}, {day:02} {month} {year} {clock} GMT")
}

/// `1 Jan 2019 09:00:43 GMT`, as maintenance events are dated: the day is not
/// padded.
pub fn event_date(time: SystemTime) -> String {
    let Parts { day, month, year, clock, .. } = parts(time);
    format!("{day} {month} {year} {clock} GMT")
}

/// The date header of a clock that is off by so many seconds; `None` when it is
/// not, as the server then dates the answer itself.
pub(crate) fn skewed_date(seconds: i64) -> Option<HeaderValue> {
    let off = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds {
        0 => return None,
        1.. => SystemTime::now().checked_add(off)?,
        _ => SystemTime::now().checked_sub(off)?,
    };
    HeaderValue::from_str(&http_date(time)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_548_061_243, "Mon, 21 Jan 2019 09:00:43 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(UNIX_EPOCH + Duration::from_secs(seconds)), date);
        }
        let first = UNIX_EPOCH + Duration::from_secs(1_546_333_243);
        assert_eq!(event_date(first), "1 Jan 2019 09:00:43 GMT");
    }
}
