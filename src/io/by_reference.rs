//! Streams that are used by reference: what `&S` does, `S` does too.

/// Implements the three traits for a type whose references implement them.
macro_rules! by_reference {
    ([$($generics:tt)*] $Stream:ty) => {
        impl<$($generics)*> $crate::io::AsyncRead for $Stream {
            async fn read<B: corering_buffers::IoBufMut>(
                &mut self,
                buf: B,
            ) -> corering_buffers::BufResult<usize, B> {
                $crate::io::AsyncRead::read(&mut &*self, buf).await
            }

            async fn read_exact<B: corering_buffers::IoBuf + corering_buffers::IoBufMut>(
                &mut self,
                buf: B,
            ) -> corering_buffers::BufResult<(), B> {
                $crate::io::AsyncRead::read_exact(&mut &*self, buf).await
            }

            async fn read_to_end(
                &mut self,
                buf: &mut Vec<u8>,
                limit: usize,
            ) -> std::io::Result<usize> {
                $crate::io::AsyncRead::read_to_end(&mut &*self, buf, limit).await
            }
        }

        impl<$($generics)*> $crate::io::AsyncBufRead for $Stream {
            async fn fill_buf(&mut self) -> std::io::Result<corering_buffers::Lease> {
                $crate::io::AsyncBufRead::fill_buf(&mut &*self).await
            }

            async fn fill_more(&mut self) -> std::io::Result<()> {
                $crate::io::AsyncBufRead::fill_more(&mut &*self).await
            }

            fn consume(&mut self, n: usize) {
                $crate::io::AsyncBufRead::consume(&mut &*self, n);
            }

            async fn fill_to(&mut self, n: usize) -> std::io::Result<corering_buffers::Lease> {
                $crate::io::AsyncBufRead::fill_to(&mut &*self, n).await
            }

            async fn recv(&mut self) -> std::io::Result<Option<corering_buffers::Lease>> {
                $crate::io::AsyncBufRead::recv(&mut &*self).await
            }
        }

        impl<$($generics)*> $crate::io::AsyncWrite for $Stream {
            async fn write<B: corering_buffers::IoBuf>(
                &mut self,
                buf: B,
            ) -> corering_buffers::BufResult<usize, B> {
                $crate::io::AsyncWrite::write(&mut &*self, buf).await
            }

            async fn write_vectored<B: corering_buffers::IoBufs>(
                &mut self,
                bufs: B,
            ) -> corering_buffers::BufResult<usize, B> {
                $crate::io::AsyncWrite::write_vectored(&mut &*self, bufs).await
            }

            async fn flush(&mut self) -> std::io::Result<()> {
                $crate::io::AsyncWrite::flush(&mut &*self).await
            }

            async fn shutdown(&mut self) -> std::io::Result<()> {
                $crate::io::AsyncWrite::shutdown(&mut &*self).await
            }

            async fn write_all<B: corering_buffers::IoBuf>(
                &mut self,
                buf: B,
            ) -> corering_buffers::BufResult<(), B> {
                $crate::io::AsyncWrite::write_all(&mut &*self, buf).await
            }
        }
    };
}

pub(crate) use by_reference;
