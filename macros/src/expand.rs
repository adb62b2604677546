//! From tokens to tokens.
//!
//! The function becomes an inner `async fn` of the same signature, so that its body is checked
//! against its own return type and its future is what runs, in no other future. What it does not
//! await is no concern of a linter's: it has to be async to be here.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, ItemFn, LitInt, LitStr, Path, Result, Signature, Token, custom_keyword,
    parse_quote,
};

custom_keyword!(cores);

/// What `#[main]` makes of a function.
pub(crate) fn main(options: TokenStream, function: TokenStream) -> TokenStream {
    match parse(options, function.clone(), Of::Main) {
        Ok((options, function)) => {
            let failed = quote! {{
                ::std::eprintln!("Error: {error}");
                ::std::process::exit(1)
            }};
            wrap(&options, TokenStream::new(), &function, &failed)
        }
        // A `main` of the same name, since the compiler would miss it, too.
        Err(error) => {
            let name = name_of(function);
            let error = error.into_compile_error();
            quote! { #error fn #name() {} }
        }
    }
}

/// What `#[test]` makes of a function.
pub(crate) fn test(options: TokenStream, function: TokenStream) -> TokenStream {
    let parsed = parse(options, function, Of::Test).and_then(|(options, function)| match function
        .attrs
        .iter()
        .find(|attr| attr.path().is_ident("test"))
    {
        Some(attr) => Err(Error::new(
            attr.span(),
            "`#[test]` is added by this attribute",
        )),
        None => Ok((options, function)),
    });
    let (options, function) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return error.into_compile_error(),
    };
    let should_panic = |attr: &Attribute| attr.path().is_ident("should_panic");
    let failed = if function.attrs.iter().any(should_panic) {
        // Not `eprintln!`: the test harness keeps that to itself, and here it ends with us.
        quote! {{
            let text = ::std::format!("no runtime: {error}\n");
            let _ = ::std::io::Write::write_all(&mut ::std::io::stderr(), text.as_bytes());
            ::std::process::exit(1)
        }}
    } else {
        quote!(::std::panic!("no runtime: {error}"))
    };
    wrap(
        &options,
        quote!(#[::core::prelude::v1::test]),
        &function,
        &failed,
    )
}

fn wrap(
    options: &Options,
    attribute: TokenStream,
    function: &ItemFn,
    failed: &TokenStream,
) -> TokenStream {
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
    } = function;
    let Signature { ident, output, .. } = sig;
    let krate = &options.krate;
    let (made, run) = match &options.cores {
        None => (quote!(Runtime::new()), quote!(runtime.block_on(#ident()))),
        Some(Number::All) => (quote!(Cores::all()), quote!(runtime.run(#ident))),
        Some(Number::Of(count)) => (quote!(Cores::count(#count)), quote!(runtime.run(#ident))),
    };
    quote! {
        #attribute
        #(#attrs)*
        #vis fn #ident() #output {
            #[allow(clippy::unused_async)]
            #sig #block
            match #krate::#made {
                ::std::result::Result::Ok(runtime) => #run,
                ::std::result::Result::Err(error) => #failed
            }
        }
    }
}

/// What the attribute is of.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Main,
    Test,
}

/// What stands in the attribute's parentheses.
struct Options {
    /// The path of the runtime's crate.
    krate: Path,
    /// On how many cores, if not on the calling thread.
    cores: Option<Number>,
}

enum Number {
    All,
    Of(LitInt),
}

/// The options, and the function if it is one that can be run.
fn parse(options: TokenStream, function: TokenStream, of: Of) -> Result<(Options, ItemFn)> {
    let function: ItemFn = syn::parse2(function)?;
    let options = (|input: ParseStream<'_>| parse_options(input, of)).parse2(options);
    let cores = options
        .as_ref()
        .is_ok_and(|options| options.cores.is_some());
    let errors = [
        check(&function.sig, cores).err(),
        options.as_ref().err().cloned(),
    ];
    combine(errors.into_iter().flatten())?;
    Ok((options?, function))
}

fn parse_options(input: ParseStream<'_>, of: Of) -> Result<Options> {
    let mut options = Options {
        krate: parse_quote!(::corering),
        cores: None,
    };
    while !input.is_empty() {
        if input.peek(Token![crate]) {
            input.parse::<Token![crate]>()?;
            input.parse::<Token![=]>()?;
            options.krate = input.parse::<LitStr>()?.parse()?;
        } else if of == Of::Main && input.peek(cores) {
            input.parse::<cores>()?;
            input.parse::<Token![=]>()?;
            options.cores = Some(parse_number(input)?);
        } else {
            return Err(input.error(match of {
                Of::Main => "unknown option: `cores = 4`, `cores = \"all\"` or `crate = \"path\"`",
                Of::Test => "unknown option: `crate = \"path\"` is the only one",
            }));
        }
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(options)
}

fn parse_number(input: ParseStream<'_>) -> Result<Number> {
    if input.peek(LitInt) {
        return input.parse().map(Number::Of);
    }
    let text: LitStr = input.parse()?;
    match text.value().as_str() {
        "all" => Ok(Number::All),
        _ => Err(Error::new(text.span(), "a number of cores, or \"all\"")),
    }
}

/// Each complaint is where it can be mended.
fn check(sig: &Signature, cores: bool) -> Result<()> {
    let name = &sig.ident;
    let wrong: [(bool, &dyn ToTokens, String); 8] = [
        (
            sig.asyncness.is_none(),
            &sig.fn_token,
            format!("the function has to be async: `async fn {name}()`"),
        ),
        (
            !cores && !sig.inputs.is_empty(),
            &sig.inputs,
            "nobody would give it arguments".to_owned(),
        ),
        (
            cores && sig.inputs.len() != 1,
            &sig.ident,
            format!("it is given its core: `async fn {name}(core: Core)`"),
        ),
        (
            sig.variadic.is_some(),
            &sig.variadic,
            "nobody would give it arguments".to_owned(),
        ),
        (
            !sig.generics.params.is_empty(),
            &sig.generics,
            "it cannot be generic: nobody would say for what".to_owned(),
        ),
        (
            sig.generics.where_clause.is_some(),
            &sig.generics.where_clause,
            "it cannot have a where clause".to_owned(),
        ),
        (
            sig.unsafety.is_some(),
            &sig.unsafety,
            "it cannot be unsafe".to_owned(),
        ),
        (
            sig.abi.is_some(),
            &sig.abi,
            "it cannot have an ABI of its own".to_owned(),
        ),
    ];
    let wrong = wrong.into_iter().filter(|(is_wrong, ..)| *is_wrong);
    combine(wrong.map(|(_, tokens, text)| Error::new_spanned(tokens, text)))
}

/// All errors as one, so that the user sees them at once.
fn combine(errors: impl Iterator<Item = Error>) -> Result<()> {
    let all = errors.reduce(|mut all, error| {
        all.combine(error);
        all
    });
    all.map_or(Ok(()), Err)
}

/// `main` for what is no function at all.
fn name_of(function: TokenStream) -> TokenStream {
    match syn::parse2::<ItemFn>(function) {
        Ok(function) => function.sig.ident.into_token_stream(),
        Err(_) => quote!(main),
    }
}

#[cfg(test)]
mod tests;
