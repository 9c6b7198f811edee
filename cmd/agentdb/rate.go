package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/agentdb/agentdb/server"
)

// rate is a rate on the command line: 50, 0.5, 50:200.
type rate server.Rate

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *rate) UnmarshalText(text []byte) (err error) {
	n, burst, has := strings.Cut(string(text), ":")
	if r.PerSecond, err = strconv.ParseFloat(n, 64); err == nil && has {
		r.Burst, err = strconv.Atoi(burst)
	}
	if err != nil || !(r.PerSecond >= 0.001 && r.PerSecond <= 1e6) || has && r.Burst < 1 {
		return fmt.Errorf("%q is not a number of requests per second such as 50, or 50:200 for as many as 200 at once", text)
	}
	return nil
}
