package main

import (
	"bytes"
	"debug/elf"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// image is what deploy/Dockerfile makes, without Docker: a root directory with this
// program in it, of which its user can write the volumes only, as if the file
// system were read-only.
type image struct {
	root   string
	env    []string
	user   uint32
	serve  []string
	health []string
}

// newImage follows the last stage of the Dockerfile, with other CA certificates.
func newImage(t *testing.T, certificates []byte) *image {
	t.Helper()
	text, err := os.ReadFile("../../deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, stage, found := strings.Cut(string(text), "\nFROM scratch\n")
	if !found {
		t.Fatal("the image isn't from scratch")
	}
	i := &image{root: t.TempDir()}
	for line := range strings.Lines(stage) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "#", "EXPOSE":
		case "USER":
			if _, err := fmt.Sscanf(rest, "%d:", &i.user); err != nil || i.user == 0 {
				t.Fatalf("USER %s", rest)
			}
		case "ENV":
			i.env = append(i.env, strings.Fields(rest)...)
		case "COPY":
			i.copy(t, strings.Fields(rest), certificates)
		case "VOLUME":
			dir := filepath.Join(i.root, rest)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(dir, int(i.user), int(i.user)); err != nil {
				t.Fatal(err)
			}
		case "ENTRYPOINT", "CMD":
			i.serve = append(i.serve, words(t, rest)...)
		case "HEALTHCHECK":
			_, rest, _ = strings.Cut(rest, "CMD ")
			i.health = words(t, rest)
		default:
			t.Fatalf("the test doesn't know %s", word)
		}
	}
	return i
}

// copy does what COPY does with the two things that are copied.
func (i *image) copy(t *testing.T, args []string, certificates []byte) {
	t.Helper()
	from, to := args[len(args)-2], args[len(args)-1]
	path, content := filepath.Join(i.root, to, filepath.Base(from)), certificates
	if from == "/out/" {
		exe, err := os.Executable()
		if err == nil {
			content, err = os.ReadFile(exe)
		}
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(i.root, "agentdb")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

func words(t *testing.T, list string) (all []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(list), &all); err != nil {
		t.Fatalf("%s: %v", list, err)
	}
	return all
}

// command is a process of the image.
func (i *image) command(args []string, env ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: args[0], Args: args, Dir: "/",
		Env: slices.Concat(i.env, []string{"AGENTDB_TEST_MAIN=1"}, env),
		SysProcAttr: &syscall.SysProcAttr{
			Chroot: i.root, Credential: &syscall.Credential{Uid: i.user, Gid: i.user},
		},
	}
}

// isStatic tells whether this program needs no libraries.
func isStatic(t *testing.T) bool {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	return err != nil || len(libs) == 0
}

// TestImage runs the server as its image does: by a user without rights, with
// nothing around it, and all but the volume read-only.
func TestImage(t *testing.T) {
	if os.Geteuid() != 0 || !isStatic(t) {
		t.Skip("needs root, and CGO_ENABLED=0")
	}
	asked := make(chan string, 9)
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer issuer.Close()
	i := newImage(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}))
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	listen := "AGENTDB_LISTEN=" + addr
	var log bytes.Buffer
	srv := i.command(i.serve, listen, "AGENTDB_ISSUER="+issuer.URL)
	srv.Stderr = &log
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Process.Kill() }) // it is gone by then, if all is well
	waitUp(t, addr)

	if out, err := i.command(i.health, listen).CombinedOutput(); err != nil || !strings.Contains(string(out), "ready") {
		t.Errorf("health: %s, %v", out, err)
	}
	out, err := i.command([]string{"/agentdb", "token", "create", "tasks"}).Output()
	if err != nil {
		t.Fatal(err)
	}
	// More than fits into memory is sorted in a file.
	const sorts = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 30000)
		SELECT count(*), max(k) FROM (SELECT row_number() OVER (ORDER BY a) k FROM (SELECT hex(randomblob(500)) a FROM n))`
	if got := query(t, addr, strings.TrimSpace(string(out)), sorts); !strings.Contains(got, `"30000"`) {
		t.Errorf("sorting: %s", got)
	}
	// The keys of an issuer are asked for by HTTPS.
	b64 := base64.RawURLEncoding.EncodeToString
	query(t, addr, b64([]byte(`{"alg":"EdDSA","kid":"x"}`))+"."+b64(fmt.Appendf(nil, `{"iss":%q,"exp":99999999999}`, issuer.URL))+"."+b64(make([]byte, 64)), "SELECT 1")
	select {
	case <-asked:
	default:
		t.Error("the issuer wasn't reached")
	}
	if err := srv.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := srv.Wait(); err != nil {
		t.Error(err)
	}
	if out, err := i.command(i.health, listen).CombinedOutput(); err == nil {
		t.Errorf("health of a server that has stopped: %s", out)
	}
	if t.Failed() {
		t.Log(log.String())
	}
}

// query sends a statement and returns the answer.
func query(t *testing.T, addr, token, sql string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"requests": []any{map[string]any{"type": "execute", "stmt": map[string]any{"sql": sql}}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/db/tasks/v2/pipeline", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
