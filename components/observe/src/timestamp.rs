//! The time of day as it stands in a log line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of day, as [`format()`] writes it.
pub(crate) fn now() -> String {
    format(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// `2026/11/21 09:12:33.123 +00:00`: always UTC, so that the logs of several machines can be merged.
pub(crate) fn format(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03} +00:00")
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March on, so that the leap day is a year's last and the months before it have fixed lengths.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (millis, expected) in [
            (0, "1970/01/01 00:00:00.000 +00:00"),
            (951_782_399_999, "2000/02/28 23:59:59.999 +00:00"),
            (951_782_400_000, "2000/02/29 00:00:00.000 +00:00"),
            (1_795_252_353_123, "2026/11/21 09:12:33.123 +00:00"),
            (4_107_542_400_000, "2100/03/01 00:00:00.000 +00:00"),
        ] {
            assert_eq!(format(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        const MONTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(date(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = MONTHS[month as usize - 1] + u64::from(leap && month == 2);
            (year, month, day) = match (day == last, month) {
                (false, _) => (year, month, day + 1),
                (true, 12) => (year + 1, 1, 1),
                (true, _) => (year, month + 1, 1),
            };
        }
    }
}
