package platform

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Kinds of errors, for errors.Is.
var (
	ErrNotFound     = errors.New("not found")
	ErrExists       = errors.New("exists already")
	ErrUnauthorized = errors.New("unauthorized") // the API token is missing, wrong or expired
	ErrForbidden    = errors.New("forbidden")    // by the caller's role, or by delete protection
)

// Error is what the server answered to a request that failed.
type Error struct {
	Status  int    // of HTTP
	Message string // the server's own

	method string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("platform: %s (%d %s)", e.Message, e.Status, http.StatusText(e.Status))
}

// Is makes an Error match the kind that it is of. A conflict is ErrExists only
// where something was to be made; a thing that is in use is none.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusConflict:
		return target == ErrExists && e.method == http.MethodPost
	case http.StatusUnauthorized:
		return target == ErrUnauthorized
	case http.StatusForbidden:
		return target == ErrForbidden
	}
	return false
}

// newError makes an Error of an answer's body.
func newError(res *http.Response, body []byte) *Error {
	e := &Error{Status: res.StatusCode, method: res.Request.Method}
	var said struct{ Error string }
	if json.Unmarshal(body, &said) == nil {
		e.Message = said.Error
	}
	if e.Message == "" {
		e.Message = strings.ToLower(res.Request.Method) + " " + res.Request.URL.Path + " failed"
	}
	return e
}
