"""Chapters 4 and 5: the values of a page, and a checkpoint, which is four pages."""
from __future__ import annotations

import struct

from model import NULL, STALE, Book, Refused, refuse, require, wrapped

PLAIN, CONSTANT, PACKED, DELTA, LZ4, TEXT_INTEGERS, BINS, DELTA_BINS = range(8)
ENCODING_NAMES = ("plain", "constant", "packed", "delta", "lz4", "text integers", "bins",
                  "delta bins")
GROUP = 1024


def unpack(words: bytes, n: int, width: int) -> list[int]:
    """4.3, Unpacking: `n` unsigned numbers of `width` bits."""
    if width == 0:
        return [0] * n
    mask = (1 << width) - 1
    if n < GROUP:
        bits = int.from_bytes(words, "little")
        return [bits >> i * width & mask for i in range(n)]
    numbers = [0] * n
    for lane in range(16):
        bits = int.from_bytes(b"".join(words[at:at + 8] for at in
                                       range(lane * 8, width * 128, 128)), "little")
        numbers[lane::16] = [bits >> i * width & mask for i in range(64)]
    return numbers


def decode_integers(page: bytes, encoding: int, count: int, plain_bytes: int, at: int,
                    unknown: str = "corrupt", sides: list[int] | None = None) -> list[int]:
    """4.1 to 4.5, 4.9, 4.10: the `count` integers of a page; `at` is the offset that faults report.

    `unknown` is what an unknown encoding means: "unsupported" where a directory names it. `sides`
    are given where the page refers to them.
    """
    require(sides is None or encoding == BINS, "page that refers to a side is not of bins", at)
    if encoding == PLAIN:
        require(len(page) == count * plain_bytes,
                "plain page has another length than its count", at)
        return list(struct.unpack(f"<{count}{ {1: 'B', 4: 'I', 8: 'q'}[plain_bytes]}", page))
    if encoding in (LZ4, TEXT_INTEGERS):
        refuse("page of integers has an encoding for text", at)
    if encoding not in (CONSTANT, PACKED, DELTA, BINS, DELTA_BINS):
        raise Refused("unknown encoding", at, unknown)
    if encoding == CONSTANT:
        require(len(page) == 8, "constant page is not 8 bytes", at)
        values = [int.from_bytes(page, "little", signed=True)] * count
    elif encoding in (BINS, DELTA_BINS):
        values = _decode_bins(page, encoding == DELTA_BINS, count, at, sides)
    else:
        values = _decode_groups(page, encoding == DELTA, count, at)
    if plain_bytes == 1:
        require(all(0 <= value <= 255 for value in values), "code or flag above 255", at)
    return values


def _decode_groups(page: bytes, delta: bool, count: int, at: int) -> list[int]:
    """4.3 and 4.4: tables 4.1 and 4.2, and the data of the groups."""
    require(len(page) >= 32, "packed page is too short", at)
    offset, multiplier, groups, reserved = struct.unpack_from("<qQI12s", page)
    require(1 <= multiplier < 1 << 63, "packed page has an impossible multiplier", at)
    require(groups == (count + GROUP - 1) // GROUP and not any(reserved),
            "packed page has another group count than its values", at)
    require(len(page) >= 32 + 24 * groups, "packed page ends inside its group directory", at)
    values: list[int] = []
    for g in range(groups):
        n = min(GROUP, count - g * GROUP)
        base, step, start, exceptions, width, size = struct.unpack_from(
            "<qqIHBB", page, 32 + 24 * g)
        require(width <= 64 and exceptions <= n,
                "group has an impossible width or exception count", at)
        require(start % 8 == 0, "data of a group does not begin at a multiple of 8", at)
        require(bool(exceptions) or size == 0,
                "group without exceptions has bytes of an exception", at)
        require(not exceptions or size in (1, 2, 4, 8),
                "exceptions are not of 1, 2, 4 or 8 bytes", at)
        positions = start + (n * width + 63) // 64 * 8
        extra = positions + 2 * exceptions
        require(extra + size * exceptions <= len(page), "group lies outside its page", at)
        numbers = unpack(page[start:positions], n, width)
        places = struct.unpack_from(f"<{exceptions}H", page, positions)
        require(all(place < n for place in places), "exception lies outside its group", at)
        for i, place in enumerate(places):
            numbers[place] = int.from_bytes(page[extra + i * size:extra + (i + 1) * size],
                                            "little", signed=True)
        if delta:
            require(numbers[0] == 0, "first difference of a group is not 0", at)
            total = base
            for i, number in enumerate(numbers):
                total += step + number
                numbers[i] = total
        else:
            numbers = [base + number for number in numbers]
        values.extend(wrapped(offset + multiplier * number) for number in numbers)
    return values


def _decode_bins(page: bytes, delta: bool, count: int, at: int,
                 sides: list[int] | None) -> list[int]:
    """4.9 and 4.10: tables 4.5 and 4.6, the bins, and the streams of the groups."""
    require(len(page) >= 32, "packed page is too short", at)
    offset, multiplier, groups, bins, low_bytes, reserved = struct.unpack_from("<qQIHB9s", page)
    require(groups == (count + GROUP - 1) // GROUP and not any(reserved),
            "packed page has another group count than its values", at)
    require(1 <= multiplier < 1 << 63, "packed page has an impossible multiplier", at)
    no_code = "bins of a page do not make a code"
    require(1 <= bins <= 256 and low_bytes in (4, 8), no_code, at)
    entries = 32 + bins * (low_bytes + 2)
    require(len(page) >= entries + 18 * groups, "packed page ends inside its group directory", at)
    lows = struct.unpack_from(f"<{bins}{'i' if low_bytes == 4 else 'q'}", page, 32)
    place_bits = page[entries - 2 * bins:entries - bins]
    codes = _codes(page[entries - bins:entries])
    require(max(place_bits) <= 45 and codes is not None, no_code, at)
    values: list[int] = []
    for g in range(groups):
        n = min(GROUP, count - g * GROUP)
        base, start, *lengths = struct.unpack_from("<qI3H", page, entries + 18 * g)
        end = len(page) - 8
        if g + 1 < groups:
            end = min(end, struct.unpack_from("<I", page, entries + 18 * g + 26)[0])
        outside = "group lies outside its page"
        require(start <= len(page) - 8 and start + sum(lengths) <= end, outside, at)
        numbers = [0] * (n - delta)
        for stream in range(4):
            bits = int.from_bytes(page[start:end], "little")
            left = max(end - start, 0) * 8
            for i in range(stream, len(numbers), 4):
                length, bin_ = next((length, codes[length, bits & (1 << length) - 1])
                                    for length in range(12)
                                    if (length, bits & (1 << length) - 1) in codes)
                place = bits >> length & (1 << place_bits[bin_]) - 1
                bits >>= length + place_bits[bin_]
                left -= length + place_bits[bin_]
                require(left >= 0, outside, at)
                numbers[i] = lows[bin_] + place
            start += lengths[stream] if stream < 3 else 0
        if delta:
            value = offset + multiplier * base
            for number in [*numbers, 0]:
                values.append(wrapped(value))
                value += multiplier * number
            continue
        for number in numbers:
            sign = -1 if sides is not None and sides[len(values)] == 0 else 1
            values.append(wrapped(offset + multiplier * (base + sign * number)))
    return values


def _codes(code_bits: bytes) -> dict[tuple[int, int], int] | None:
    """4.9: the bin of each code, by its bits and their number, the first bit lowest."""
    if max(code_bits) > 11 or sum(1 << 11 - bits for bits in code_bits) != 1 << 11:
        return None
    codes, code = {}, 0
    for bin_ in sorted(range(len(code_bits)), key=lambda bin_: code_bits[bin_]):
        length = code_bits[bin_]
        first = f"{code >> 11 - length:0{length}b}" if length else ""
        codes[length, int(first[::-1] or "0", 2)] = bin_
        code += 1 << 11 - length
    return codes


def decode_texts(page: bytes, encoding: int, count: int, at: int) -> list[bytes]:
    """4.6 to 4.8: the `count` texts of a page; `at` is the offset that faults report."""
    if encoding in (CONSTANT, PACKED, DELTA, BINS, DELTA_BINS):
        refuse("page of text has an encoding for integers", at)
    if encoding not in (PLAIN, LZ4, TEXT_INTEGERS):
        raise Refused("unknown encoding", at, "unsupported")
    require(len(page) >= (8 if encoding == TEXT_INTEGERS else 16), "text page is too short", at)
    inner, reserved = struct.unpack_from("<B7s", page, 0 if encoding == TEXT_INTEGERS else 8)
    require(not any(reserved), "reserved bytes of a text page are not 0", at)
    if encoding == TEXT_INTEGERS:
        return [b"%d" % value for value in decode_integers(page[8:], inner, count, 8, at)]
    lengths_len, text_len = struct.unpack_from("<II", page)
    text = page[16 + lengths_len:]
    require(16 + lengths_len <= len(page), "text page ends inside its value lengths", at)
    lengths = decode_integers(page[16:16 + lengths_len], inner, count, 4, at)
    require(text_len <= 1 << 28 and (encoding != LZ4 or text_len <= 255 * len(text)),
            "text page claims an impossible length", at)
    if encoding == LZ4:
        text = decompress_lz4(text, text_len, at)
        require(len(text) == text_len, "text page decodes to another length than it claims", at)
    require(len(text) == text_len, "text page has another length than it claims", at)
    require(all(length <= 1 << 24 for length in lengths),
            "text value is longer than a text may be", at)
    require(min(lengths, default=0) >= 0 and sum(lengths) == text_len,
            "text values do not cover their bytes", at)
    values, start = [], 0
    for length in lengths:
        values.append(text[start:start + length])
        start += length
    return values


def decompress_lz4(block: bytes, limit: int, at: int) -> bytes:
    """4.7: one LZ4 block of at most `limit` bytes when decompressed."""
    out, i = bytearray(), 0

    def longer(length: int) -> int:
        nonlocal i
        while length >= 15:
            length += block[i]
            i += 1
            if block[i - 1] != 255:
                break
        return length

    try:
        while True:
            require(len(out) <= limit, "text page is not valid LZ4", at)
            token = block[i]
            i += 1
            literals = longer(token >> 4)
            require(i + literals <= len(block), "text page is not valid LZ4", at)
            out += block[i:i + literals]
            i += literals
            if i == len(block):
                require(len(out) <= limit, "text page is not valid LZ4", at)
                return bytes(out)
            distance = block[i] | block[i + 1] << 8
            i += 2
            length = 4 + longer(token & 15)
            require(1 <= distance <= len(out), "text page is not valid LZ4", at)
            piece = bytes(out[-distance:])
            out += (piece * (length // distance + 1))[:length]
    except IndexError:
        refuse("text page is not valid LZ4", at)


def decode_checkpoint(data: bytes, at: int = 0) -> tuple[Book, int, int]:
    """Table 5.1 and the four pages: the book, and the checkpoint's scales of price and quantity."""
    require(len(data) >= 64, "checkpoint is too short", at)
    state, price_scale, qty_scale, reserved, since, missing, *numbers, encodings, reserved_end = (
        struct.unpack_from("<BBB5sqQ2I4I4s12s", data))
    counts, lengths = numbers[:2], numbers[2:]
    require(state <= STALE, "state of a checkpoint is not 0, 1 or 2", at)
    require(max(price_scale, qty_scale) <= 18, "scale of a checkpoint is above 18", at)
    require(not any(reserved + reserved_end), "reserved bytes of a checkpoint are not 0", at)
    require(state == STALE or since == missing == 0,
            "checkpoint is not stale and yet says since when", at)
    require(max(counts) <= 100_000, "levels of a checkpoint", at)
    pages, start = [], 64
    for i, length in enumerate(lengths):
        end = start + (length + 7) // 8 * 8
        require(end <= len(data), "checkpoint ends inside a page", at)
        pages.append(decode_integers(data[start:start + length], encodings[i], counts[i // 2], 8,
                                     at))
        require(NULL not in pages[-1], "null in a level of a checkpoint", at)
        start = end
    require(start == len(data), "bytes after the last page of a checkpoint", at)
    book = Book()
    book.state, book.since, book.missing = state, since, missing
    for side, (prices, quantities) in enumerate((pages[:2], pages[2:])):
        require(prices == sorted(set(prices), reverse=side == 0) and 0 not in quantities,
                "levels of a checkpoint are not in order", at)
        book.sides[side].update((price * 10 ** (18 - price_scale), qty * 10 ** (18 - qty_scale))
                                for price, qty in zip(prices, quantities))
    return book, price_scale, qty_scale
