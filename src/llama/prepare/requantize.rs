//! Writes a model file in another weight layout.

use std::ffi::CString;
use std::path::Path;

use domain::{Code, Error, Result};
use llama_cpp_sys_2 as sys;

use super::Layout;

/// Writes the model in `source` to `target` with its matrices in `layout`; metadata and vectors stay as they are.
///
/// The same source and layout give the same bytes on every machine and with any number of threads. A source that is
/// quantised already is widened first, so a wider layout keeps its values and a narrower one loses some more. The file is
/// written beside the target and renamed when it is whole. Blocks for seconds.
///
/// # Errors
/// `invalid_model_file` when llama.cpp cannot read the source or convert it, `internal_server_error` when the target
/// cannot be written.
pub fn requantize(source: &Path, target: &Path, layout: &Layout) -> Result<()> {
    let part = target.with_extension("gguf.part");
    let from = c_path(source)?;
    let to = c_path(&part)?;
    // Tensor names are matched by regular expression: a part of a name is its own pattern once dots are escaped.
    let patterns: Vec<CString> =
        layout.overrides.iter().map(|(tensor, _)| CString::new(tensor.replace('.', "\\.")).map_err(Error::internal)).collect::<Result<_>>()?;
    let mut overrides: Vec<sys::llama_model_tensor_override> = patterns
        .iter()
        .zip(&layout.overrides)
        .map(|(pattern, (_, kind))| sys::llama_model_tensor_override { pattern: pattern.as_ptr(), type_: kind.ggml })
        .collect();
    overrides.push(sys::llama_model_tensor_override { pattern: std::ptr::null(), type_: sys::GGML_TYPE_COUNT });
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    // Else llama.cpp writes hundreds of lines to the terminal.
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default().with_logs_enabled(false));

    // SAFETY: the paths, the patterns and the list (ended by a null pattern) outlive the call; llama.cpp reports its own
    // exceptions through the result.
    #[allow(unsafe_code)]
    let code = unsafe {
        let mut params = sys::llama_model_quantize_default_params();
        params.nthread = i32::try_from(threads).unwrap_or(1);
        params.ftype = layout.main.ftype;
        params.allow_requantize = true;
        params.pure_ = true;
        params.output_tensor_type = sys::GGML_TYPE_Q8_0;
        params.token_embedding_type = sys::GGML_TYPE_Q8_0;
        params.tt_overrides = overrides.as_ptr();
        sys::llama_model_quantize(from.as_ptr(), to.as_ptr(), &params)
    };
    if code != 0 {
        let _ = std::fs::remove_file(&part);
        let why = format!("`{}` could not be written in the layout `{layout}`; check that it is a whole GGUF file", source.display());
        return Err(Error::new(Code::InvalidModelFile, why));
    }
    let file = std::fs::File::open(&part).map_err(Error::internal)?;
    file.sync_all().map_err(Error::internal)?;
    std::fs::rename(&part, target).map_err(Error::internal)
}

fn c_path(path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(Code::InvalidParam, format!("`{}` has a NUL byte in its name; rename the file", path.display())))
}
