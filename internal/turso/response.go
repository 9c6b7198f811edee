package turso

import "google.golang.org/protobuf/encoding/protowire"

// PageSize is the size of every page.
const PageSize = 4096

// AppendHeader appends the message that an answer begins with: the revision of
// the pages that follow, and how many the database has.
func AppendHeader(b []byte, revision string, pages uint32) []byte {
	msg := protowire.AppendTag(nil, 1, protowire.BytesType)
	msg = protowire.AppendString(msg, revision)
	msg = protowire.AppendTag(msg, 2, protowire.VarintType)
	msg = protowire.AppendVarint(msg, uint64(pages))
	msg = protowire.AppendTag(msg, 3, protowire.BytesType) // pages are raw
	msg = protowire.AppendVarint(msg, 0)
	return protowire.AppendBytes(b, msg)
}

// AppendPageHead appends what stands before the bytes of a page, whose number
// counts from 1.
func AppendPageHead(b []byte, no uint32) []byte {
	b = protowire.AppendVarint(b, uint64(pageMessageSize(no)))
	if no > 1 { // protocol buffers leave zeros out
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(no-1))
	}
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	return protowire.AppendVarint(b, PageSize)
}

// PageSizeOnWire returns how many bytes a page's message has, with its length.
func PageSizeOnWire(no uint32) int { return protowire.SizeBytes(pageMessageSize(no)) }

func pageMessageSize(no uint32) int {
	n := protowire.SizeTag(2) + protowire.SizeBytes(PageSize)
	if no > 1 {
		n += protowire.SizeTag(1) + protowire.SizeVarint(uint64(no-1))
	}
	return n
}
