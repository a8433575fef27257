"""When a photo was taken, from the clocks that EXIF knows."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL import ExifTags

from citysplat_core.imagery.exif_values import number, text

_TIME = "%Y:%m:%d %H:%M:%S"
_ZONE_S = 900.0
_AGREE_S = 1.5


def captured_at(
    gps: Mapping[int, Any], details: Mapping[int, Any], main: Mapping[int, Any]
) -> tuple[datetime | None, bool]:
    """Return when a photo was taken, UTC, and whether the GPS clock says so.

    The GPS clock wins: it has no time zone and is never wrong by hours. It often counts whole
    seconds only; where the camera's own clock differs from it by a whole number of quarter hours
    (its time zone), that one's fraction of a second is taken over, so that photos of one second
    keep their order. Without GPS time: the time of taking, then of digitizing, then of the file,
    with their own time zone, and as UTC if they have none.

    Args:
        gps: The GPS IFD.
        details: The EXIF IFD.
        main: The main IFD.
    """
    local = _camera_time(details, main)
    exact = _gps_time(gps)
    if exact is None:
        return local, False
    if local is None or exact.microsecond:
        return exact, True
    apart_s = (local - exact).total_seconds()
    zone_s = round(apart_s / _ZONE_S) * _ZONE_S
    if abs(apart_s - zone_s) > _AGREE_S:
        return exact, True
    return local - timedelta(seconds=zone_s), True


def _gps_time(gps: Mapping[int, Any]) -> datetime | None:
    day = text(gps.get(ExifTags.GPS.GPSDateStamp))
    clock = gps.get(ExifTags.GPS.GPSTimeStamp)
    if not day or not isinstance(clock, tuple | list) or len(clock) != 3:
        return None
    hour, minute, second = (number(part) or 0.0 for part in clock)
    midnight = _parsed(f"{day.replace('-', ':')} 00:00:00")
    if midnight is None or not (0 <= hour < 25 and 0 <= minute < 60 and 0 <= second < 61):
        return None
    seconds = hour * 3600.0 + minute * 60.0 + second
    return midnight + timedelta(milliseconds=round(seconds * 1000.0))


def _camera_time(details: Mapping[int, Any], main: Mapping[int, Any]) -> datetime | None:
    base = ExifTags.Base
    clocks = (
        (details, base.DateTimeOriginal, base.OffsetTimeOriginal, base.SubsecTimeOriginal),
        (details, base.DateTimeDigitized, base.OffsetTimeDigitized, base.SubsecTimeDigitized),
        (main, base.DateTime, base.OffsetTime, base.SubsecTime),
    )
    for where, time_tag, offset_tag, fraction_tag in clocks:
        moment = _parsed(text(where.get(time_tag)) or "", text(details.get(offset_tag)) or "")
        if moment is not None:
            return moment + _fraction(text(details.get(fraction_tag)) or "")
    return None


def _fraction(digits: str) -> timedelta:
    known = digits.isascii() and digits.isdigit()
    return timedelta(milliseconds=round(float(f"0.{digits}") * 1000.0) if known else 0)


def _parsed(moment: str, offset: str = "") -> datetime | None:
    try:
        if offset:
            return datetime.strptime(f"{moment} {offset}", f"{_TIME} %z").astimezone(UTC)
        return datetime.strptime(moment, _TIME).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
