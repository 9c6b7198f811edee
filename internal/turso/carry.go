package turso

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Obstacle returns what a database has that the clients can't open or pull,
// for its owner to read; "" if there is nothing.
func (m *Image) Obstacle() (string, error) {
	p, err := m.Page(1)
	if err != nil {
		return "", err
	}
	switch {
	case len(p) != PageSize || binary.BigEndian.Uint16(p[offPageSize:]) != PageSize || p[offReserved] != 0:
		return "it is not made of pages of 4096 bytes", nil
	case binary.BigEndian.Uint32(p[offAutoVacuum:]) != 0:
		return "auto_vacuum is on", nil
	case binary.BigEndian.Uint32(p[offEncoding:]) > encodingUTF8:
		return "its text is UTF-16", nil
	}
	list, err := m.Schema()
	if err != nil {
		return "", err
	}
	for _, o := range list {
		if o.Type != "table" {
			continue
		}
		if o.Root == 0 {
			return fmt.Sprintf("%s is a virtual table", o.Name), nil
		}
		if generates(o.SQL) {
			return fmt.Sprintf("%s has a generated column", o.Name), nil
		}
	}
	return "", nil
}

// generates reports whether a CREATE TABLE has a generated column: AS and a
// parenthesis, neither within a parenthesis of a column nor within a text.
func generates(sql string) bool {
	depth, as := 0, false
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			i = past(sql, i+1, string(c))
			as = false
		case c == '[':
			i = past(sql, i+1, "]")
			as = false
		case strings.HasPrefix(sql[i:], "--"):
			i = past(sql, i+2, "\n")
		case strings.HasPrefix(sql[i:], "/*"):
			i = past(sql, i+2, "*/") + 1
		case c == '(':
			if as && depth == 1 {
				return true
			}
			depth++
			as = false
		case c == ')':
			depth--
			as = false
		case letter(c):
			j := i
			for j < len(sql) && letter(sql[j]) {
				j++
			}
			as = strings.EqualFold(sql[i:j], "as")
			i = j - 1
		case c > ' ':
			as = false
		}
	}
	return false
}

// past returns where end is in s at or after i, or the end of s.
func past(s string, i int, end string) int {
	if i > len(s) {
		return len(s)
	}
	if k := strings.Index(s[i:], end); k >= 0 {
		return i + k
	}
	return len(s)
}

func letter(c byte) bool {
	return c == '_' || c == '$' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}
