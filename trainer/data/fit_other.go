//go:build !amd64

package data

const fitAVX = false

func narrowRGB(*float32, *byte, []tap, float32) { panic("data: narrowRGB is for amd64") }

func sumLines([]float32, *float32, []float32) { panic("data: sumLines is for amd64") }
