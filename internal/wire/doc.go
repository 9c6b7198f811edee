// Package wire defines the messages of agentdb's sync protocol and their
// encoding. It does no I/O: [Request] and [Response] turn into bytes and back,
// and a snapshot into chunks of pages.
//
// A message is an envelope around a body:
//
//	magic   2 bytes  "aS" a request, "aR" an answer, "aP" a chunk of pages
//	version 1 byte   [Version]
//	flags   1 byte   bit 0: the body is zstd-compressed
//	length  uvarint  of the body once decompressed
//	body
//	check   8 bytes  xxHash64 of everything before it, little endian
//
// Integers are LEB128 varints, signed ones zigzag-encoded; byte strings carry
// their length. Every decoder is strict: a message that is cut anywhere, has
// bytes left over, or a length that it can't hold is [ErrMalformed], and what
// is decoded takes no more memory than a small multiple of the message that
// asked for it, and of the caller's limit.
package wire
