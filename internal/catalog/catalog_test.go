package catalog

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func mustVerifier(t testing.TB, k *Key, now func() time.Time, issuers ...Issuer) *Verifier {
	t.Helper()
	v, err := k.Verifier(now, issuers...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func testKey(t *testing.T) *Key {
	t.Helper()
	k, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyIsMadeOnceAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var wg sync.WaitGroup
	keys := make([]*Key, 8)
	for i := range keys {
		wg.Go(func() {
			k, err := OpenKey(dir)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = k
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k == nil || !k.private.Equal(keys[0].private) {
			t.Fatal("two keys in one directory")
		}
	}
	path := filepath.Join(dir, keyFile)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", st.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".key-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key open to others: %v", err)
	}
}

func TestDamagedKeyIsRefusedNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, keyFile)
	for _, text := range []string{"", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKey(dir); err == nil {
			t.Errorf("key %q was taken", text)
		}
		if got, _ := os.ReadFile(path); string(got) != text {
			t.Errorf("key %q was replaced", text)
		}
	}
}

func TestSignVerify(t *testing.T) {
	k := testKey(t)
	now := time.Unix(1_800_000_000, 0)
	v := mustVerifier(t, k, func() time.Time { return now })
	want := Claims{ID: "id", Subject: "worker", Database: "tasks", Access: AccessPush, Issued: now, Expires: now.Add(time.Hour)}
	tok, err := k.Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the cache
		got, err := v.Verify(tok)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	}
	now = now.Add(time.Hour)
	if _, err := v.Verify(tok); !errors.Is(err, ErrExpired) {
		t.Errorf("expired, cached: %v", err)
	}
	if _, err := mustVerifier(t, k, func() time.Time { return now }).Verify(tok); !errors.Is(err, ErrExpired) {
		t.Errorf("expired, fresh: %v", err)
	}
}

func TestTokenIsShortAndHidden(t *testing.T) {
	tok, err := testKey(t).Sign(Claims{Database: "agent-memory", Access: AccessFull, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if len(tok) > 230 {
		t.Errorf("%d bytes: every request carries them", len(tok))
	}
	if s := fmt.Sprintf("%v %s %#v", tok, tok, tok); strings.Contains(s, "eyJ") {
		t.Errorf("printed: %s", s)
	}
}

// forge signs any header and claims with any key.
func forge(header, claims map[string]any, key ed25519.PrivateKey) Token {
	enc := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := enc(header) + "." + enc(claims)
	if key == nil {
		return Token(text + ".")
	}
	return Token(text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text))))
}

func TestForgedTokens(t *testing.T) {
	k, other := testKey(t), testKey(t)
	v := mustVerifier(t, k, nil)
	good := map[string]any{"db": "tasks", "a": "full"}
	eddsa := map[string]any{"alg": "EdDSA"}
	if _, err := v.Verify(forge(eddsa, good, k.private)); err != nil {
		t.Fatalf("the control: %v", err)
	}
	hs, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(good)).SignedString([]byte(k.private.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	tok := string(forge(eddsa, good, k.private))
	parts := strings.Split(tok, ".")
	admin := base64.RawURLEncoding.EncodeToString([]byte(`{"db":"*","a":"full"}`))
	for name, bad := range map[string]Token{
		"empty":            "",
		"not a token":      "letmein",
		"dots":             "..",
		"huge":             Token(strings.Repeat("x", 1<<20)),
		"wrong key":        forge(eddsa, good, other.private),
		"alg none":         forge(map[string]any{"alg": "none"}, good, nil),
		"alg NONE, signed": forge(map[string]any{"alg": "NONE"}, good, k.private),
		"no alg":           forge(map[string]any{}, good, k.private),
		"alg confusion":    Token(hs),
		"no signature":     Token(parts[0] + "." + parts[1] + "."),
		"other claims":     Token(parts[0] + "." + admin + "." + parts[2]),
		"no database":      forge(eddsa, map[string]any{"a": "full"}, k.private),
		"no access":        forge(eddsa, map[string]any{"db": "x"}, k.private),
		"unknown access":   forge(eddsa, map[string]any{"db": "x", "a": "root"}, k.private),
		"exp is text":      forge(eddsa, map[string]any{"db": "x", "a": "full", "exp": "never"}, k.private),
		"cut":              Token(tok[:len(tok)-1]),
		"longer":           Token(tok + "A"),
	} {
		if c, err := v.Verify(bad); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %+v, %v; want ErrToken", name, c, err)
		}
	}
}

func TestVerifierCacheIsBounded(t *testing.T) {
	k := testKey(t)
	v := mustVerifier(t, k, nil)
	for i := range maxVerified + 10 {
		v.remember([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}, Claims{})
	}
	if n := len(v.verified); n != maxVerified {
		t.Errorf("%d tokens remembered, the bound is %d", n, maxVerified)
	}
}

func TestAccess(t *testing.T) {
	for a, want := range map[Access]struct {
		text       string
		pull, push bool
	}{
		AccessFull: {"full", true, true},
		AccessRead: {"read", true, false},
		AccessPush: {"push", false, true},
		AccessPull: {"pull", true, false},
		Access(0):  {"none", false, false},
		Access(9):  {"none", false, false},
	} {
		if a.String() != want.text || a.CanPull() != want.pull || a.CanPush() != want.push {
			t.Errorf("%v: %v %v", a, a.CanPull(), a.CanPush())
		}
		if got, err := ParseAccess(want.text); want.text != "none" && (err != nil || got != a) {
			t.Errorf("ParseAccess(%q) = %v, %v", want.text, got, err)
		}
	}
	if _, err := ParseAccess("none"); err == nil {
		t.Error("none is an access")
	}
}

func BenchmarkVerifyCached(b *testing.B) {
	dir := b.TempDir()
	k, err := OpenKey(dir)
	if err != nil {
		b.Fatal(err)
	}
	tok, err := k.Sign(Claims{Database: "x", Access: AccessFull})
	if err != nil {
		b.Fatal(err)
	}
	v := mustVerifier(b, k, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(tok); err != nil {
			b.Fatal(err)
		}
	}
}
