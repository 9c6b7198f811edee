package platform

import "time"

// Bounds of Clock.
const (
	maxJump  = time.Minute
	holdTime = 10 * time.Minute
)

// Clock notices when the wall clock jumps ahead, as when somebody sets it wrong
// or a machine wakes up. Until that has had time to be put right, nothing should
// be deleted that is old by that clock only. The zero value is ready to use, by
// one goroutine.
type Clock struct {
	wall, steady time.Time // when it was asked last
	hold         time.Time // by the steady clock
}

// Trust reports whether the wall clock may be trusted. steady is a time of a clock
// that doesn't jump; jumped is true once for each jump.
func (c *Clock) Trust(wall, steady time.Time) (trust, jumped bool) {
	wall = wall.Round(0) // without the steady clock's part
	if !c.wall.IsZero() && wall.Sub(c.wall)-steady.Sub(c.steady) > maxJump {
		c.hold, jumped = steady.Add(holdTime), true
	}
	c.wall, c.steady = wall, steady
	return !steady.Before(c.hold), jumped
}
