//! Reading Avro's numbers and lengths from bytes that may be anything.

/// What is wrong with the bytes.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) &'static str);

const CUT: Malformed = Malformed("it is cut short, or declares more than it holds");

/// The bytes that are not read yet.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Values that may yet be read.
    values_left: u64,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, values_left: u64::MAX }
    }

    pub(super) const fn with_values_max(mut self, values_max: u64) -> Self {
        self.values_left = values_max;
        self
    }

    pub(super) const fn values_left(&self) -> u64 {
        self.values_left
    }

    /// Counts a value.
    pub(super) fn value(&mut self) -> Result<(), Malformed> {
        let left = self.values_left.checked_sub(1);
        self.values_left = left.ok_or(Malformed("it holds more values than its limit allows"))?;
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A zigzag number of up to ten bytes.
    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        // Most numbers are small.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1));
        }
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first().ok_or(CUT)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(Malformed("a number has too many bytes"))
    }

    /// A length of something whose items take a byte or more each.
    pub(super) fn length(&mut self) -> Result<usize, Malformed> {
        let length =
            usize::try_from(self.long()?).map_err(|_| Malformed("a length is negative"))?;
        if length <= self.rest.len() { Ok(length) } else { Err(CUT) }
    }

    /// The number of items of the next block of an array or a map; `None` at the end.
    pub(super) fn block_length(&mut self) -> Result<Option<usize>, Malformed> {
        let count = self.long()?;
        if count < 0 {
            // The size in bytes follows, for readers that skip the block.
            self.length()?;
        }
        match usize::try_from(count.unsigned_abs()) {
            Ok(0) => Ok(None),
            Ok(count) if count <= self.rest.len() => Ok(Some(count)),
            _ => Err(CUT),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }
}
