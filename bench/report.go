package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// stat sums up the runs of one measure.
type stat struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

func newStat(xs []float64) stat {
	if len(xs) == 0 {
		return stat{}
	}
	s := slices.Sorted(slices.Values(xs))
	return stat{Median: (s[(len(s)-1)/2] + s[len(s)/2]) / 2, Min: s[0], Max: s[len(s)-1], N: len(s)}
}

// unit is what a measure counts, and how it is printed.
type unit string

const (
	seconds unit = "s"
	size    unit = "B"
	perSec  unit = "/s"
	count   unit = ""
)

func (u unit) format(x float64) string {
	switch {
	case u == seconds && x < 1e-3:
		return fmt.Sprintf("%.3g us", x*1e6)
	case u == seconds && x < 1:
		return fmt.Sprintf("%.3g ms", x*1e3)
	case u == seconds:
		return fmt.Sprintf("%.3g s", x)
	case u == size && x >= 1e6:
		return fmt.Sprintf("%.2f MB", x/1e6)
	case u == size:
		return fmt.Sprintf("%.0f B", x)
	case u == perSec:
		return fmt.Sprintf("%.0f/s", x)
	}
	return fmt.Sprintf("%.4g", x)
}

// target is the number to reach; the zero value is none.
type target struct {
	Limit    float64 `json:"limit"`
	AtLeast  bool    `json:"at_least,omitempty"` // else at most
	Absolute bool    `json:"absolute,omitempty"` // on our own number, else on the ratio
	set      bool
}

func atMost(x float64) target     { return target{Limit: x, set: true} }
func atLeast(x float64) target    { return target{Limit: x, AtLeast: true, set: true} }
func oursAtMost(x float64) target { return target{Limit: x, Absolute: true, set: true} }
func oursAtLeast(x float64) target {
	return target{Limit: x, AtLeast: true, Absolute: true, set: true}
}

// row is one line of the table: ours against one peer.
type row struct {
	What   string `json:"what"`
	Unit   unit   `json:"unit"`
	Peer   string `json:"peer,omitempty"`
	Ours   stat   `json:"ours"`
	Theirs stat   `json:"theirs"`
	Ratio  stat   `json:"ratio"` // of ours to theirs, run by run
	Target target `json:"target"`
	Result string `json:"result"` // hit, miss or ""
	Note   string `json:"note,omitempty"`
}

// newRow compares the runs of ours with the runs of a peer, pairwise; theirs may be empty.
func newRow(what string, u unit, ours []float64, peer string, theirs []float64, t target) row {
	r := row{What: what, Unit: u, Peer: peer, Ours: newStat(ours), Theirs: newStat(theirs), Target: t}
	var ratios []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] != 0 {
			ratios = append(ratios, ours[i]/theirs[i])
		}
	}
	r.Ratio = newStat(ratios)
	if !t.set {
		return r
	}
	x, ok := r.Ratio.Median, len(ratios) > 0
	if t.Absolute {
		x, ok = r.Ours.Median, len(ours) > 0
	}
	switch {
	case !ok:
		r.Result = "not measured"
	case t.AtLeast && x >= t.Limit, !t.AtLeast && x <= t.Limit:
		r.Result = "hit"
	default:
		r.Result = "MISS"
	}
	return r
}

// report is what a suite found out.
type report struct {
	Suite    string            `json:"suite"`
	Started  time.Time         `json:"started"`
	Machine  string            `json:"machine"`
	Settings string            `json:"settings"`
	Versions map[string]string `json:"versions"`
	Rows     []row             `json:"rows"`
	Notes    []string          `json:"notes,omitempty"`
}

func (r *report) add(rows ...row) { r.Rows = append(r.Rows, rows...) }

func (r *report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s (%s; %s)\n", r.Suite, r.Settings, r.Machine)
	names := make([]string, 0, len(r.Versions))
	for n := range r.Versions {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(w, "  %s: %s\n", n, r.Versions[n])
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "what\tours\tpeer\tratio (min..max)\ttarget\t")
	for _, x := range r.Rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", x.What, x.oursText(), x.peerText(), x.ratioText(), x.targetText(), x.Result)
	}
	_ = tw.Flush()
	for _, n := range r.Notes {
		fmt.Fprintln(w, "  -", n)
	}
}

func (x *row) oursText() string {
	if x.Ours.N == 0 {
		return "-"
	}
	return x.Unit.format(x.Ours.Median)
}

func (x *row) peerText() string {
	if x.Theirs.N == 0 {
		return x.Peer
	}
	return strings.TrimSpace(x.Peer + " " + x.Unit.format(x.Theirs.Median))
}

func (x *row) ratioText() string {
	switch {
	case x.Ratio.N > 0:
		return fmt.Sprintf("%.3g (%.3g..%.3g)", x.Ratio.Median, x.Ratio.Min, x.Ratio.Max)
	case x.Ours.N > 1:
		return fmt.Sprintf("(%s..%s)", x.Unit.format(x.Ours.Min), x.Unit.format(x.Ours.Max))
	}
	return ""
}

func (x *row) targetText() string {
	t := x.Target
	if !t.set {
		return ""
	}
	op := "<= "
	if t.AtLeast {
		op = ">= "
	}
	if t.Absolute {
		return op + x.Unit.format(t.Limit)
	}
	return op + fmt.Sprintf("%.3g", t.Limit)
}

// save writes results/<suite>.json and results/<suite>.txt.
func (r *report) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, r.Suite+".json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	var text strings.Builder
	r.print(&text)
	return os.WriteFile(filepath.Join(dir, r.Suite+".txt"), []byte(text.String()), 0o644)
}
