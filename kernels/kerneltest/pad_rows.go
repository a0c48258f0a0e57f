package kerneltest

import "magvit/kernels"

func padRowsCases() []Case {
	const why = "copies"
	var cs []Case
	for _, s := range []kernels.PadRows{{Rows: 1, From: 1, To: 1}, {Rows: 5, From: 7, To: 8}, {Rows: 3, From: 17, To: 9}, {Rows: 2, From: 13 * 24, To: 16 * 24},
		{Rows: 2, From: 16 * 24, To: 13 * 24}, {Rows: 1, From: 4099, To: 4099}} {
		cs = append(cs, newCase(s, exactTol, why, nil))
	}
	return append(cs, benchCase(kernels.PadRows{Rows: 2, From: 1365 * 512, To: 1368 * 512}, exactTol, why, nil))
}
