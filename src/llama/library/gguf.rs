//! Reads the header of a GGUF file without trusting it.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Every length is checked against what is left of
//! the file before anything is allocated; arrays are walked over, not kept.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use domain::{Code, Error, Result, model::{GgufFacts, Pooling}};

/// Longest header text that is kept; chat templates are the longest there are.
const LONGEST_TEXT: u64 = 1 << 20;
const MOST_PAIRS: u64 = 65_536;
const MOST_TENSORS: u64 = 65_536;
/// Weights begin at a multiple of this many bytes unless the header says otherwise.
const ALIGNMENT: u64 = 32;

/// A header value that is of use here.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Text(String),
    /// An array, by its length.
    Array(u64),
}

/// ggml's tensor types: number, name, bytes of a block, weights of a block, fast CPU kernels (`reference`: ggml's repack).
const TYPES: &[(u32, &str, u64, u64, bool)] = &[
    (0, "F32", 4, 1, false),
    (1, "F16", 2, 1, false),
    (2, "Q4_0", 18, 32, true),
    (3, "Q4_1", 20, 32, false),
    (6, "Q5_0", 22, 32, false),
    (7, "Q5_1", 24, 32, false),
    (8, "Q8_0", 34, 32, true),
    (10, "Q2_K", 84, 256, true),
    (11, "Q3_K", 110, 256, false),
    (12, "Q4_K", 144, 256, true),
    (13, "Q5_K", 176, 256, false),
    (14, "Q6_K", 210, 256, false),
    (16, "IQ2_XXS", 66, 256, false),
    (17, "IQ2_XS", 74, 256, false),
    (18, "IQ3_XXS", 98, 256, false),
    (19, "IQ1_S", 50, 256, false),
    (20, "IQ4_NL", 18, 32, true),
    (21, "IQ3_S", 110, 256, false),
    (22, "IQ2_S", 82, 256, false),
    (23, "IQ4_XS", 136, 256, false),
    (29, "IQ1_M", 56, 256, false),
    (30, "BF16", 2, 1, false),
];

struct Header<R> {
    from: R,
    left: u64,
}

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidModelFile, format!("this is not a readable GGUF file: {why}"))
}

impl<R: Read + Seek> Header<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.spend(N as u64)?;
        let mut out = [0; N];
        self.from.read_exact(&mut out).map_err(wrong)?;
        Ok(out)
    }
    fn spend(&mut self, n: u64) -> Result<()> {
        self.left = self.left.checked_sub(n).ok_or_else(|| wrong("it was cut off"))?;
        Ok(())
    }
    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }
    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }
    fn skip(&mut self, n: u64) -> Result<()> {
        self.spend(n)?;
        self.from.seek(SeekFrom::Current(n as i64)).map_err(wrong)?;
        Ok(())
    }
    fn text(&mut self) -> Result<String> {
        let length = self.u64()?;
        if length > LONGEST_TEXT {
            self.skip(length)?;
            return Ok(String::new());
        }
        self.spend(length)?;
        let mut out = vec![0; length as usize];
        self.from.read_exact(&mut out).map_err(wrong)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
    fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Number(f64::from(self.bytes::<1>()?[0])),
            1 => Value::Number(f64::from(i8::from_le_bytes(self.bytes()?))),
            2 => Value::Number(f64::from(u16::from_le_bytes(self.bytes()?))),
            3 => Value::Number(f64::from(i16::from_le_bytes(self.bytes()?))),
            4 => Value::Number(f64::from(self.u32()?)),
            5 => Value::Number(f64::from(i32::from_le_bytes(self.bytes()?))),
            6 => Value::Number(f64::from(f32::from_le_bytes(self.bytes()?))),
            7 => Value::Number(f64::from(self.bytes::<1>()?[0])),
            8 => Value::Text(self.text()?),
            9 => {
                let (kind, length) = (self.u32()?, self.u64()?);
                match kind {
                    8 => (0..length).try_for_each(|_| {
                        let n = self.u64()?;
                        self.skip(n)
                    })?,
                    9 => return Err(wrong("an array holds arrays")),
                    _ => {
                        let width = match kind {
                            0 | 1 | 7 => 1,
                            2 | 3 => 2,
                            4..=6 => 4,
                            10..=12 => 8,
                            other => return Err(wrong(format!("it has a value of the unknown type {other}"))),
                        };
                        self.skip(length.checked_mul(width).ok_or_else(|| wrong("an array is longer than the file"))?)?;
                    }
                }
                Value::Array(length)
            }
            10 => Value::Number(self.u64()? as f64),
            11 => Value::Number(i64::from_le_bytes(self.bytes()?) as f64),
            12 => Value::Number(f64::from_le_bytes(self.bytes()?)),
            other => return Err(wrong(format!("it has a value of the unknown type {other}"))),
        })
    }
}

/// What the header of `path` says, and whether all of the weights it promises are there.
/// Errors: `invalid_model_file` with the reason.
pub fn read(path: &Path) -> Result<GgufFacts> {
    let file = File::open(path).map_err(wrong)?;
    let size = file.metadata().map_err(wrong)?.len();
    read_from(BufReader::new(file), size)
}

fn read_from(from: impl Read + Seek, size: u64) -> Result<GgufFacts> {
    let mut header = Header { from, left: size };
    if &header.bytes::<4>().map_err(|_| wrong("it is too short"))? != b"GGUF" {
        return Err(wrong("it does not begin with `GGUF`"));
    }
    let version = header.u32()?;
    if !(2..=3).contains(&version) {
        return Err(wrong(format!("its version is {version}; 2 and 3 can be read")));
    }
    let (tensors, pairs) = (header.u64()?, header.u64()?);
    if tensors > MOST_TENSORS || pairs > MOST_PAIRS {
        return Err(wrong(format!("it claims {tensors} tensors and {pairs} header values")));
    }
    let mut values = HashMap::new();
    for _ in 0..pairs {
        let key = header.text()?;
        let kind = header.u32()?;
        values.insert(key, header.value(kind)?);
    }
    let (mut weights, mut end) = (0u64, 0u64);
    let mut by_type: HashMap<u32, u64> = HashMap::new();
    for _ in 0..tensors {
        let name = header.text()?;
        let dimensions = header.u32()?;
        if dimensions > 4 {
            return Err(wrong(format!("tensor `{name}` has {dimensions} dimensions")));
        }
        let mut count = 1u64;
        for _ in 0..dimensions {
            count = header.u64()?.checked_mul(count).ok_or_else(|| wrong(format!("tensor `{name}` is larger than can be")))?;
        }
        let (kind, offset) = (header.u32()?, header.u64()?);
        let (_, _, block, per_block, _) = TYPES.iter().find(|t| t.0 == kind).ok_or_else(|| wrong(format!("tensor `{name}` is of the unknown type {kind}")))?;
        let bytes = (count / per_block).checked_mul(*block).ok_or_else(|| wrong(format!("tensor `{name}` is larger than can be")))?;
        end = end.max(offset.checked_add(bytes).ok_or_else(|| wrong(format!("tensor `{name}` lies outside the file")))?);
        weights = weights.saturating_add(count);
        *by_type.entry(kind).or_default() += bytes;
    }
    if !matches!(values.get("general.architecture"), Some(Value::Text(name)) if name.bytes().all(|b| b.is_ascii_graphic()) && !name.is_empty()) {
        return Err(wrong("it does not name its architecture"));
    }
    let alignment = match values.get("general.alignment") {
        None => ALIGNMENT,
        Some(Value::Number(n)) if *n >= 1.0 && *n <= 65_536.0 && (*n as u64).is_power_of_two() => *n as u64,
        Some(_) => return Err(wrong("its alignment is no power of two")),
    };
    let there = size.saturating_sub((size - header.left).next_multiple_of(alignment));
    if end > there {
        return Err(wrong(format!("it was cut off: {end} bytes of weights are promised and {there} are there")));
    }
    Ok(facts(&values, weights, &by_type))
}

fn facts(values: &HashMap<String, Value>, weights: u64, by_type: &HashMap<u32, u64>) -> GgufFacts {
    let text = |key: &str| if let Some(Value::Text(t)) = values.get(key) { Some(t.clone()).filter(|t| !t.is_empty()) } else { None };
    let architecture = text("general.architecture").unwrap_or_else(|| "unknown".into());
    let number = |key: &str| if let Some(Value::Number(n)) = values.get(&format!("{architecture}.{key}")) { *n as u32 } else { 0 };
    let template = text("tokenizer.chat_template");
    let main = by_type.iter().max_by_key(|(_, bytes)| **bytes).and_then(|(kind, _)| TYPES.iter().find(|t| t.0 == *kind));
    let pooling = values.contains_key(&format!("{architecture}.pooling_type")).then(|| match number("pooling_type") {
        1 => Pooling::Mean,
        2 => Pooling::Cls,
        3 => Pooling::Last,
        4 => Pooling::Rank,
        _ => Pooling::None,
    });
    GgufFacts {
        name: text("general.name"),
        quantization: main.map_or("unknown", |t| t.1).into(),
        parameters: weights,
        context_length: number("context_length"),
        embedding_length: number("embedding_length"),
        layers: number("block_count"),
        vocabulary: if let Some(Value::Array(n)) = values.get("tokenizer.ggml.tokens") { *n as u32 } else { 0 },
        pooling,
        has_chat_template: template.is_some(),
        template_takes_tools: template.is_some_and(|t| t.contains("tools")),
        licence: text("general.license"),
        fast_kernels: main.is_some_and(|t| t.4),
        architecture,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn text(out: &mut Vec<u8>, t: &str) {
        out.extend((t.len() as u64).to_le_bytes());
        out.extend(t.as_bytes());
    }
    /// A file with a name, an array of tokens and one Q8_0 tensor.
    fn small() -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(1u64.to_le_bytes());
        out.extend(4u64.to_le_bytes());
        for (key, value) in [("general.architecture", "bert"), ("general.name", "Small")] {
            text(&mut out, key);
            out.extend(8u32.to_le_bytes());
            text(&mut out, value);
        }
        text(&mut out, "bert.pooling_type");
        out.extend(4u32.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(9u32.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(2u64.to_le_bytes());
        text(&mut out, "a");
        text(&mut out, "b");
        text(&mut out, "w");
        out.extend(1u32.to_le_bytes());
        out.extend(64u64.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(0u64.to_le_bytes());
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend([0; 68]);
        out
    }
    fn parse(bytes: &[u8]) -> Result<GgufFacts> {
        read_from(Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn a_header_is_read() {
        let facts = parse(&small()).unwrap();
        assert_eq!((facts.architecture.as_str(), facts.name.as_deref(), facts.quantization.as_str()), ("bert", Some("Small"), "Q8_0"));
        assert_eq!((facts.pooling, facts.vocabulary, facts.parameters, facts.fast_kernels), (Some(Pooling::Mean), 2, 64, true));
    }

    #[test]
    fn every_cut_off_file_is_refused() {
        let whole = small();
        for n in 0..whole.len() {
            assert_eq!(parse(&whole[..n]).unwrap_err().code, Code::InvalidModelFile, "{n} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_changed_header_makes_the_reader_panic_or_take_much_memory(changes in prop::collection::vec((0usize..300, any::<u8>()), 1..8)) {
            let mut bytes = small();
            for (at, value) in changes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            let _ = parse(&bytes);
        }
    }
}
