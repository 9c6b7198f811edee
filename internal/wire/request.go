package wire

import "encoding/binary"

// maxChanges bounds the changes in one request.
const maxChanges = 1 << 20

// Append appends the encoded request to dst.
func (m *Request) Append(dst []byte) []byte {
	size := 96
	for i := range m.Changes {
		size += len(m.Changes[i].Body) + 24
	}
	b := make([]byte, 0, size)
	b = append(b, m.Replica[:]...)
	b = append(b, byte(m.Mode))
	b = AppendRevision(b, m.Base)
	b = binary.AppendUvarint(b, uint64(m.WaitMS))
	b = binary.AppendUvarint(b, m.First)
	b = binary.LittleEndian.AppendUint64(b, m.Chain)
	b = binary.AppendUvarint(b, uint64(len(m.Changes)))
	for i := range m.Changes {
		c := &m.Changes[i]
		b = binary.LittleEndian.AppendUint64(b, c.Nonce)
		b = binary.LittleEndian.AppendUint64(b, c.Effects)
		b = AppendBytes(b, c.Body)
	}
	if m.Strict == nil {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		b = append(b, m.Strict.Nonce[:]...)
		b = AppendBytes(b, m.Strict.Body)
	}
	return seal(dst, kindRequest, b)
}

// DecodeRequest decodes one request of at most limit bytes, decompressed. The
// result aliases msg.
func DecodeRequest(msg []byte, limit int) (*Request, error) {
	body, err := open(msg, kindRequest, limit)
	if err != nil {
		return nil, err
	}
	r := NewReader(body)
	m := &Request{}
	copy(m.Replica[:], r.Raw(16))
	if m.Mode = Mode(r.Byte()); m.Mode&^(ModePull|ModeSnapshot|ModeMoves) != 0 {
		r.Fail("unknown mode %#x", m.Mode)
	}
	m.Base = r.Revision()
	m.WaitMS = uint32(min(r.Uvarint(), 1<<31))
	m.First = r.Uvarint()
	m.Chain = r.Uint64()
	n := r.Count(17)
	if n > maxChanges {
		r.Fail("%d changes in one request, the limit is %d", n, maxChanges)
	}
	if n > 0 && r.Err() == nil {
		m.Changes = make([]Change, n)
	}
	for i := range m.Changes {
		m.Changes[i] = Change{Nonce: r.Uint64(), Effects: r.Uint64(), Body: r.Bytes()}
	}
	switch r.Byte() {
	case 0:
	case 1:
		m.Strict = &Strict{}
		copy(m.Strict.Nonce[:], r.Raw(16))
		m.Strict.Body = r.Bytes()
	default:
		r.Fail("bad strict flag")
	}
	if n > 0 && m.First == 0 {
		r.Fail("change ids start at 1")
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	return m, nil
}
