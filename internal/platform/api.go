// Package platform serves the Platform API: organisations, groups, databases,
// tokens and the audit log over REST, in the shapes of Turso's API, so that its
// client and command line work here unmodified.
package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
)

// Databases is what the API needs of the databases themselves.
type Databases interface {
	Create(ctx context.Context, name string) error
	Delete(ctx context.Context, name string) error
	List(ctx context.Context, after string, n int) ([]string, error)
	Facts(ctx context.Context, name string) (tenant.Facts, error)
	RevisionAt(ctx context.Context, name string, t time.Time) (uint64, error)
	Fork(ctx context.Context, name string, revision uint64, fork string) error
	Restore(ctx context.Context, name string, revision uint64, author string) (uint64, error)
	ExportAt(ctx context.Context, name string, revision uint64) (int64, iter.Seq2[[]byte, error], error)
	LoadFile(ctx context.Context, name, path, author string) (uint64, error)
	TopStatements(name string, n int) []tenant.Statement
	TakeUsage() map[string]tenant.Usage
	ReturnUsage(usage map[string]tenant.Usage)
	LoadDump(ctx context.Context, name string, script io.Reader, author string) (uint64, error)
	Suspect(ctx context.Context, err error) error
}

// Config is what New needs to know.
type Config struct {
	Store     *catalog.Store
	Key       *catalog.Key // signs tokens of databases; nil: none are needed, see Open
	Databases Databases
	Logger    *slog.Logger
	UploadDir string // for what is uploaded; emptied by New
	// Org is the organisation of requests that name none, "" for DefaultOrg. If it
	// isn't empty the host NAME-Org is the database NAME, too.
	Org    string
	Domain string // databases are at NAME.Domain; "": below the host of the request
	// ExpiredExport is the directory that expired databases are exported to before
	// they are deleted; "": they are not.
	ExpiredExport string
	// Backup writes a backup of the server and returns its path there.
	Backup func(context.Context) (string, error)
	// Open lets everybody in as the first owner, for a server that asks for no
	// tokens.
	Open bool
	// MaxUpload is the largest file, in bytes, that a database is made from.
	MaxUpload int64
	Now       func() time.Time // nil: time.Now
}

// API is the Platform API. It is safe for concurrent use.
type API struct {
	cfg    Config
	routes []*route
	stop   context.CancelFunc
	done   chan struct{} // closed when the background work has ended

	document json.RawMessage // OpenAPI
	suffix   string          // of names in hosts that is not the database's; see Config.Org

	started  time.Time
	adopt    chan struct{} // tells that there are orphans
	adopting sync.Mutex    // held while orphans are added to the catalog
	expiring sync.Mutex    // held by Expire: who calls it finds all done

	mu      sync.Mutex           // guards what follows
	used    map[string]time.Time // when databases with an idle time were used last
	orphans []string             // databases that the catalog may not have yet
	claimed map[string]bool      // IDs of databases that somebody is creating or deleting
}

// maxBody is the largest request body but for uploads, in bytes.
const maxBody = 1 << 20

// apiError is an error for the client.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

func fail(status int, format string, args ...any) error {
	return &apiError{status, fmt.Sprintf(format, args...)}
}

// call is a request on its way.
type call struct {
	*http.Request
	api    *API
	w      http.ResponseWriter
	org    string
	user   string
	role   catalog.Role
	until  time.Time // when the caller's API token ends; zero: never
	only   string    // the organization that its token is for; "": all of theirs
	params map[string]string
	rt     *route

	audit map[string]any // what the entry in the audit log says
	note  *catalog.Note  // that entry; nil: the request is none, or not known yet
	begun int64          // its number, of an action that was noted before it
}

// p returns a part of the path.
func (c *call) p(name string) string { return c.params[name] }

// body decodes a request's JSON into v; an empty body is an empty object.
// Unknown fields are the client's business.
func (c *call) body(v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return fail(http.StatusRequestEntityTooLarge, "the body is above %d bytes", maxBody)
	}
	if err != nil {
		return fail(http.StatusBadRequest, "the body was cut short")
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil
	}
	if err := c.admit(); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fail(http.StatusBadRequest, "the body is not the JSON that is expected here: %v", err)
	}
	return nil
}

// checkQuery refuses a query string that can't be read, or says something twice:
// what would be left out of it may be what limits a token.
func (c *call) checkQuery() error {
	q, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return fail(http.StatusBadRequest, "the query string can't be read: %v", err)
	}
	for name, values := range q {
		if len(values) > 1 {
			return fail(http.StatusBadRequest, "%q is there %d times in the query string", name, len(values))
		}
	}
	return nil
}

// query returns a number of the query string.
func (c *call) query(name string, otherwise, most int) (int, error) {
	s := c.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, fail(http.StatusBadRequest, "%s must be a number from 1 to %d, not %q", name, most, s)
	}
	return n, nil
}

// Serves reports whether a path is the API's.
func Serves(path string) bool {
	version, rest := cutSegment(path)
	if version == "v1" {
		return true
	}
	first, _ := cutSegment(rest)
	return version == "v2" && (first == "organizations" || first == "locations" || first == "auth")
}

// cutSegment returns the first segment of a path and the rest.
func cutSegment(path string) (first, rest string) {
	first, rest, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first, rest
}

// second reports whether a request is for the second version of the API.
func (c *call) second() bool {
	version, _ := cutSegment(c.URL.Path)
	return version == "v2"
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, api: a, w: w, audit: map[string]any{}}
	out, err := a.serve(c)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if out == nil {
		return // it wrote the answer itself
	}
	writeJSON(w, http.StatusOK, out)
}

// serve finds the route, checks who asks, and runs it.
func (a *API) serve(c *call) (any, error) {
	rt, err := a.match(c)
	if err == nil {
		err = c.checkQuery()
	}
	if err != nil {
		return nil, err
	}
	if rt.public {
		return rt.do(c)
	}
	c.rt = rt
	if err := c.admit(); err != nil {
		return nil, err
	}
	if err := a.adoptOrphans(c.Context()); err != nil {
		return nil, err
	}
	out, err := rt.do(c)
	return out, errors.Join(err, c.end(err))
}

// admit checks that whoever asks may do so. It is called again when the request's
// body is there, which may have taken long.
func (c *call) admit() (err error) {
	if err := c.api.authenticate(c); err != nil {
		return err
	}
	if err := c.within(c.rt); err != nil {
		return err
	}
	if c.org != "" {
		if c.role, err = c.api.cfg.Store.Role(c.org, c.user); err != nil {
			return err
		}
		if c.role == catalog.RoleNone {
			return fail(http.StatusNotFound, "organization %s not found, or you are not a member of it", c.org)
		}
	}
	if c.role < c.rt.role {
		return fail(http.StatusForbidden, "this needs the role %s in %s, yours is %s", c.rt.role, c.org, c.role)
	}
	return nil
}

// authenticate finds out who asks.
func (a *API) authenticate(c *call) error {
	if a.cfg.Open {
		c.user = catalog.DefaultUser
		return nil
	}
	token := c.bearer()
	if token == "" {
		return fail(http.StatusUnauthorized, "an API token is required: make one with 'agentdb token api NAME'")
	}
	t, err := a.cfg.Store.APIToken(token)
	if err != nil {
		return err
	}
	c.user, c.until, c.only = t.Username, t.Expires, t.Org
	return nil
}

// within refuses what is not of the organization that the API token is for.
func (c *call) within(rt *route) error {
	switch {
	case c.only == "":
	case c.org != "" && c.org != c.only:
		return fail(http.StatusNotFound, "organization %s not found, or the API token is not for it", c.org)
	case rt.wide:
		return fail(http.StatusForbidden, "the API token is for the organization %s alone", c.only)
	}
	return nil
}

// fail answers an error.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	if e.status == http.StatusInternalServerError {
		err = a.cfg.Databases.Suspect(r.Context(), err)
		e = asError(err)
	}
	if e.status == http.StatusInternalServerError || tenant.NoRoom(err) {
		a.cfg.Logger.ErrorContext(r.Context(), "platform", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, e.status, map[string]string{"error": e.message})
}

// asError decides what a client learns of an error.
func asError(err error) *apiError {
	e := classify(err)
	if len(e.message) > maxMessage {
		e = &apiError{e.status, strings.ToValidUTF8(e.message[:maxMessage], "") + "…"}
	}
	return e
}

func classify(err error) *apiError {
	if e := (*apiError)(nil); errors.As(err, &e) {
		return e
	}
	for _, k := range []struct {
		is      error
		status  int
		message string // "": the error's own
	}{
		{catalog.ErrExpired, 401, "the API token has expired: make a new one"},
		{catalog.ErrToken, 401, "the API token is not one of this server"},
		{catalog.ErrNotFound, 404, ""},
		{catalog.ErrExists, 409, ""},
		{catalog.ErrProtected, 403, ""},
		{catalog.ErrInUse, 409, ""},
		{catalog.ErrLong, 422, ""},
		{catalog.ErrClosed, 503, "the server is shutting down: try again in a moment"},
		{tenant.ErrBadName, 400, "a name has 1 to 64 of a-z, 0-9, '-', '_' and '.', and starts with a letter or a digit"},
		{tenant.ErrNotFound, 404, "the database does not exist"},
		{tenant.ErrExists, 409, "the database exists already"},
		{tenant.ErrRevision, 422, "the database never had that revision, or keeps it no more"},
		{tenant.ErrNotADatabase, 422, ""},
		{tenant.ErrTooLarge, 413, "that is larger than this server takes"},
		{tenant.ErrQuota, 507, "the database would be above its size_limit, or the server has no room left"},
		{tenant.ErrTimeout, 422, "that takes longer than this server allows"},
		{tenant.ErrBusy, 503, "the database is busy: try again in a moment"},
		{tenant.ErrFailed, 503, tenant.FailedMessage},
		{tenant.ErrClosed, 503, "the server is shutting down: try again in a moment"},
		{context.Canceled, 499, "the client left"},
		{context.DeadlineExceeded, 503, "it took too long: try again in a moment"},
	} {
		if errors.Is(err, k.is) {
			if k.message == "" {
				k.message = plain(err)
			}
			return &apiError{k.status, k.message}
		}
	}
	if tenant.NoRoom(err) {
		return &apiError{http.StatusInsufficientStorage, "the server has no room left"}
	}
	return &apiError{http.StatusInternalServerError, "the server met an error of its own: its log has the details"}
}

// plain is an error without the names of packages.
func plain(err error) string {
	s := err.Error()
	for _, prefix := range []string{"catalog: ", "tenant: ", "sqlite: "} {
		s = strings.ReplaceAll(s, prefix, "")
	}
	return s
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // what is answered always encodes
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client is gone; there is nobody to tell
}

// unescape is url.PathUnescape for a segment.
func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
