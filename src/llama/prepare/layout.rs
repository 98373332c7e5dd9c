//! Names of weight layouts: one type for all matrices and, where wanted, another for some of them.

use domain::{Code, Error, Result};
use llama_cpp_sys_2 as sys;

/// Which type each weight matrix is stored in.
///
/// Written as llama.cpp's type name, optionally followed by overrides for tensors whose name contains a part:
/// `Q4_0` or `Q4_0,attn_v=Q8_0,ffn_down=Q8_0`. The first override that fits a tensor wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) main: WeightType,
    pub(super) overrides: Vec<(String, WeightType)>,
}

/// A type llama.cpp has fast CPU kernels for and that fits rows of any multiple of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WeightType {
    pub name: &'static str,
    pub ftype: sys::llama_ftype,
    pub ggml: sys::ggml_type,
}

const TYPES: &[WeightType] = &[
    WeightType { name: "Q4_0", ftype: sys::LLAMA_FTYPE_MOSTLY_Q4_0, ggml: sys::GGML_TYPE_Q4_0 },
    WeightType { name: "Q4_1", ftype: sys::LLAMA_FTYPE_MOSTLY_Q4_1, ggml: sys::GGML_TYPE_Q4_1 },
    WeightType { name: "Q5_0", ftype: sys::LLAMA_FTYPE_MOSTLY_Q5_0, ggml: sys::GGML_TYPE_Q5_0 },
    WeightType { name: "Q5_1", ftype: sys::LLAMA_FTYPE_MOSTLY_Q5_1, ggml: sys::GGML_TYPE_Q5_1 },
    WeightType { name: "IQ4_NL", ftype: sys::LLAMA_FTYPE_MOSTLY_IQ4_NL, ggml: sys::GGML_TYPE_IQ4_NL },
    WeightType { name: "Q8_0", ftype: sys::LLAMA_FTYPE_MOSTLY_Q8_0, ggml: sys::GGML_TYPE_Q8_0 },
    WeightType { name: "F16", ftype: sys::LLAMA_FTYPE_MOSTLY_F16, ggml: sys::GGML_TYPE_F16 },
];

impl std::str::FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layout> {
        let mut parts = text.split(',').map(str::trim);
        let main = weight_type(parts.next().unwrap_or_default())?;
        let mut overrides = Vec::new();
        for part in parts {
            let (tensor, kind) = part.split_once('=').ok_or_else(|| {
                Error::new(Code::InvalidParam, format!("`{part}` is not an override of a weight layout; write `tensor=TYPE`, for example `attn_v=Q8_0`"))
            })?;
            if tensor.is_empty() || !tensor.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
                return Err(Error::new(Code::InvalidParam, format!("`{tensor}` cannot be part of a tensor's name; letters, digits, `_` and `.` can")));
            }
            overrides.push((tensor.to_owned(), weight_type(kind)?));
        }
        Ok(Layout { main, overrides })
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.main.name)?;
        for (tensor, kind) in &self.overrides {
            write!(f, ",{tensor}={}", kind.name)?;
        }
        Ok(())
    }
}

fn weight_type(name: &str) -> Result<WeightType> {
    TYPES.iter().find(|t| t.name.eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
        let known: Vec<_> = TYPES.iter().map(|t| t.name).collect();
        Error::new(Code::InvalidParam, format!("`{name}` is not a weight layout Filbert writes; take one of {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_reads_back_as_it_was_written() {
        for text in ["Q4_0", "Q8_0,attn_v=Q4_0", "IQ4_NL,ffn_down=Q8_0,blk.0.=F16"] {
            assert_eq!(text.parse::<Layout>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_layout_that_is_not_known_is_refused_with_the_known_ones() {
        let e = "Q9_9".parse::<Layout>().unwrap_err();
        assert_eq!(e.code, Code::InvalidParam);
        assert!(e.message.contains("Q9_9") && e.message.contains("Q4_0"), "{e}");
        assert!("Q4_0,attn_v".parse::<Layout>().is_err());
        assert!("Q4_0,.*(=Q8_0".parse::<Layout>().is_err());
    }
}
