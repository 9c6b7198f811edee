package server

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/hrana"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// Code names a kind of error to a client. The set is closed.
type Code string

// The codes.
const (
	CodeMalformed    Code = "malformed"    // the request makes no sense
	CodeVersion      Code = "version"      // another version of the protocol
	CodeUnauthorized Code = "unauthorized" // no token, or not a good one
	CodeForbidden    Code = "forbidden"    // a good token for something else
	CodeNotFound     Code = "not_found"    // no such database or path
	CodeMethod       Code = "method"       // the path takes another method
	CodeConflict     Code = "diverged"     // histories that can't be joined
	CodeTooLarge     Code = "too_large"    // above a limit on one request
	CodeQuota        Code = "quota"        // no room left
	CodeUnsupported  Code = "unsupported"  // what is asked for is not here, or can't be carried
	CodeLimited      Code = "rate_limited" // too many requests: wait, and try again
	CodeUnavailable  Code = "unavailable"  // try again in a moment
	CodeInternal     Code = "internal"     // the server's fault
)

// status is the one table from codes to HTTP.
func (c Code) status() int {
	switch c {
	case CodeMalformed, CodeVersion:
		return http.StatusBadRequest
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeForbidden:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeMethod:
		return http.StatusMethodNotAllowed
	case CodeConflict:
		return http.StatusConflict
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeUnsupported:
		return http.StatusUnprocessableEntity
	case CodeQuota:
		return http.StatusInsufficientStorage
	case CodeLimited:
		return http.StatusTooManyRequests
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// statusGone is logged for a client that left before its answer.
const statusGone = 499

// problem is an error with what a client may know of it.
type problem struct {
	code    Code
	message string        // for the client
	err     error         // for the log; may be nil
	retry   time.Duration // when to try again, of CodeLimited
}

func (p *problem) Error() string {
	if p.err == nil {
		return p.message
	}
	return p.message + ": " + p.err.Error()
}

func (p *problem) Unwrap() error { return p.err }

// asProblem decides what a client learns of an error: what a handler made a
// problem of itself, or a fixed text for each kind that packages below know.
func asProblem(err error) *problem {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	if e := (*tenant.ScopeError)(nil); errors.As(err, &e) {
		return &problem{code: CodeForbidden, message: e.What}
	}
	for _, k := range []struct {
		is      error
		code    Code
		message string
	}{
		{wire.ErrVersion, CodeVersion, "this server speaks version " + strconv.Itoa(wire.Version) + " of the sync protocol: upgrade the older of client and server"},
		{wire.ErrTooLarge, CodeTooLarge, "the request is above the server's limit once decompressed: sync in smaller steps"},
		{wire.ErrMalformed, CodeMalformed, "the request is damaged or not of the sync protocol: send it again"},
		{catalog.ErrExpired, CodeUnauthorized, "the token has expired: get a new one"},
		{catalog.ErrVoid, CodeUnauthorized, "the token was voided: get a new one"},
		{catalog.ErrOther, CodeForbidden, "the token is for another database"},
		{catalog.ErrClosed, CodeUnavailable, "the server is shutting down: try again in a moment"},
		{catalog.ErrToken, CodeUnauthorized, "the token is not one of this server: make one with 'agentdb token create NAME'"},
		{tenant.ErrBadName, CodeMalformed, "a database's name has 1 to 64 of a-z, 0-9, '-', '_' and '.', and starts with a letter or a digit"},
		{tenant.ErrNotFound, CodeNotFound, "no such database: it is created by its first push with a token that allows it"},
		{tenant.ErrForbidden, CodeForbidden, "the token doesn't allow this"},
		{tenant.ErrMalformed, CodeMalformed, "a change in the request can't be decoded: upgrade the older of client and server"},
		{tenant.ErrTooLarge, CodeTooLarge, "a transaction is above the server's limit: write less in one transaction"},
		{tenant.ErrTimeout, CodeTooLarge, "a transaction took longer than the server allows: do less in one transaction"},
		{tenant.ErrQuota, CodeQuota, "the database or the server has no room left: delete data, or ask for more room"},
		{tenant.ErrBusy, CodeUnavailable, "too much is queued for this database: try again in a moment"},
		{tenant.ErrDiverged, CodeConflict, "the histories of the file and the server contradict one another: join the database with a new file"},
		{tenant.ErrRevision, CodeConflict, "the server never had that revision, or keeps its pages no more: open the database with a new file"},
		{tenant.ErrFailed, CodeUnavailable, tenant.FailedMessage},
		{tenant.ErrClosed, CodeUnavailable, "the server is shutting down: try again in a moment"},
		{hrana.ErrExpired, CodeMalformed, "the stream has expired: it waited too long, or was used already"},
		{hrana.ErrMalformed, CodeMalformed, "the request is not one of Hrana"},
		{context.DeadlineExceeded, CodeUnavailable, "the request took too long: try again in a moment"},
	} {
		if errors.Is(err, k.is) {
			return &problem{code: k.code, message: k.message, err: err}
		}
	}
	if tenant.NoRoom(err) {
		return &problem{code: CodeQuota, message: "the server has no room left: try again later", err: err}
	}
	return &problem{code: CodeInternal, message: "the server met an error of its own: its log has the details", err: err}
}

// errorBody is the JSON of an error.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Request string `json:"request,omitempty"` // the id in the server's log
}

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter, request string) {
	p.writeJSON(w, errorBody{errorDetail{p.code, p.message, request}})
}

// sqlErrorBody is the JSON of an error as clients of Hrana read it.
type sqlErrorBody struct {
	Message string `json:"message"`
	Code    string `json:"code"`
	Request string `json:"request,omitempty"`
}

// writeSQL answers a client of Hrana with the problem.
func (p *problem) writeSQL(w http.ResponseWriter, request string) {
	p.writeJSON(w, sqlErrorBody{p.message, p.sqlCode(), request})
}

// sqlCode is the problem's code for a client of Hrana.
func (p *problem) sqlCode() string {
	if errors.Is(p.err, hrana.ErrExpired) {
		return "STREAM_EXPIRED"
	}
	return strings.ToUpper(string(p.code))
}

func (p *problem) writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings always encode
	}
	h := w.Header()
	h["Date"] = nil
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	switch p.code {
	case CodeUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case CodeUnavailable:
		h.Set("Retry-After", "1")
	case CodeLimited:
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	w.WriteHeader(p.code.status())
	_, _ = w.Write(body) // the client is gone; there is nobody to tell
}
