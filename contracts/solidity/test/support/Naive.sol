// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// kernels/README.md a second time, one formula after the other over `bytes` and wide integers,
/// without thought for gas: what the verifier's ops are held against. Shares no code with them.
library Naive {
    int256 internal constant FX = 2147483647;

    // ---------------------------------------------------------------- numbers in bytes

    function u(bytes memory b, uint256 from, uint256 width) internal pure returns (uint256 x) {
        for (uint256 j = 0; j < width; ++j) {
            x += uint256(uint8(b[from + j])) * 256 ** j;
        }
    }

    function i(bytes memory b, uint256 from, uint256 width) internal pure returns (int256) {
        uint256 x = u(b, from, width);
        return x < 256 ** width / 2 ? int256(x) : int256(x) - int256(256 ** width);
    }

    function i32(bytes memory b, uint256 index) internal pure returns (int256) {
        return i(b, 4 * index, 4);
    }

    function i16(bytes memory b, uint256 index) internal pure returns (int256) {
        return i(b, 2 * index, 2);
    }

    // ---------------------------------------------------------------- primitives

    function shr(int256 x, uint256 s) internal pure returns (int256 q) {
        int256 d = int256(2 ** s);
        q = x / d;
        if (x % d < 0) q -= 1;
    }

    function rshiftRound(int256 x, uint256 s) internal pure returns (int256) {
        if (s == 0) return x;
        return shr(x, s) + (shr(x, s - 1) % 2 == 0 ? int256(0) : int256(1));
    }

    function clamp(int256 x, int256 limit) internal pure returns (int256) {
        return x > limit ? limit : (x < -limit ? -limit : x);
    }

    function bitlen(uint256 x) internal pure returns (uint256 count) {
        for (; x != 0; x /= 2) {
            ++count;
        }
    }

    function isqrt(uint256 x) internal pure returns (uint256 low) {
        uint256 high = 2 ** 33;
        while (high - low > 1) {
            uint256 middle = (low + high) / 2;
            if (middle * middle <= x) low = middle;
            else high = middle;
        }
    }

    function exp2(uint256 f) internal pure returns (uint256) {
        uint256[6] memory c = [uint256(744261108), 257941996, 59588402, 10363966, 1362811, 223531];
        uint256 a = c[5];
        for (uint256 j = 5; j > 0; --j) {
            a = c[j - 1] + (a * f) / 2 ** 32;
        }
        return 2 ** 30 + (a * f) / 2 ** 32;
    }

    function magnitude(int256 x) internal pure returns (uint256) {
        return x < 0 ? uint256(-x) : uint256(x);
    }

    // ---------------------------------------------------------------- weights

    function half(uint256 bits) internal pure returns (int256) {
        uint256 e = (bits / 1024) % 32;
        uint256 f = bits % 1024;
        int256 x = e == 0 ? int256(f) : int256((1024 + f) * 2 ** (e - 1));
        return bits < 32768 ? x : -x;
    }

    function blockBytes(uint256 format) internal pure returns (uint256) {
        return [uint256(4), 34, 18, 20][format];
    }

    /// Weight `index` of whole blocks: `D · w` or so, in 2^-24 units.
    function weight(uint256 format, bytes memory b, uint256 index) internal pure returns (int256) {
        if (format == 0) return i32(b, index);
        uint256 from = index / 32 * blockBytes(format);
        uint256 j = index % 32;
        int256 d = half(u(b, from, 2));
        if (format == 1) return d * i(b, from + 2 + j, 1);
        uint256 head = format == 2 ? 2 : 4;
        uint256 pair = u(b, from + head + (j < 16 ? j : j - 16), 1);
        int256 w = int256(j < 16 ? pair % 16 : pair / 16);
        return format == 2 ? d * (w - 8) : d * w + half(u(b, from + 2, 2));
    }

    // ---------------------------------------------------------------- ops

    function embed(uint256 format, bytes memory row, uint256 index) internal pure returns (int256) {
        return clamp(rshiftRound(weight(format, row, index), 12), FX);
    }

    function squares(bytes memory x, uint256 from, uint256 to) internal pure returns (int256 acc) {
        for (uint256 j = from; j < to; ++j) {
            acc += i32(x, j) * i32(x, j);
        }
    }

    function rmsNorm(int256 acc, uint256 n, uint256 eps, int256 c1, int256 x, int256 w)
        internal
        pure
        returns (int256)
    {
        int256 m = (acc + int256(n / 2)) / int256(n) + int256(eps);
        if (m > 2 ** 63 - 1) m = 2 ** 63 - 1;
        uint256 h = (64 - bitlen(uint256(m))) / 2;
        uint256 r = 2 ** 62 / isqrt(uint256(m) * 4 ** h);
        if (r > 2 ** 31 - 1) r = 2 ** 31 - 1;
        int256 y = clamp(rshiftRound(x * int256(r), 42 - h), FX);
        return clamp(rshiftRound(y * w, uint256(8 + c1)), FX);
    }

    function ors(bytes memory x, uint256 from, uint256 to) internal pure returns (uint256 acc) {
        for (uint256 j = from; j < to; ++j) {
            acc |= magnitude(i32(x, j));
        }
    }

    function quantizedShift(uint256 o, uint256 bits) internal pure returns (uint256) {
        return bitlen(o) > bits ? bitlen(o) - bits : 0;
    }

    function quantized(int256 x, uint256 shift, uint256 bits) internal pure returns (int256) {
        return clamp(rshiftRound(x, shift), int256(2 ** bits - 1));
    }

    function dot(uint256 format, bytes memory w, bytes memory q, uint256 firstQ, uint256 count)
        internal
        pure
        returns (int256 acc)
    {
        for (uint256 j = 0; j < count; ++j) {
            acc += weight(format, w, j) * i16(q, firstQ + j);
        }
    }

    function linear(int256 acc, uint256 shift) internal pure returns (int256) {
        return clamp(rshiftRound(acc, 24 - (shift > 16 ? 16 : shift)), FX);
    }

    function rope(int256 x0, int256 x1, int256 cos, int256 sin, bool second)
        internal
        pure
        returns (int256)
    {
        return clamp(rshiftRound(second ? x0 * sin + x1 * cos : x0 * cos - x1 * sin, 30), FX);
    }

    function score(int256 product, uint256 c0, uint256 a, uint256 b)
        internal
        pure
        returns (int256)
    {
        int256 limit = 2 ** 30;
        int256 e = 38 - int256(a > 20 ? 20 : a) - int256(b > 20 ? 20 : b);
        int256 p = product * int256(c0);
        if (e >= 0) return clamp(rshiftRound(p, uint256(e)), limit);
        return clamp(clamp(p, limit) * int256(2 ** uint256(-e)), limit);
    }

    function prob(int256 x, int256 top) internal pure returns (int256) {
        int256 d = x < top ? x - top : int256(0);
        int256 whole = shr(d, 16);
        uint256 f = uint256(d - whole * 65536) * 65536;
        uint256 n = uint256(-whole);
        return n + 16 <= 31 ? rshiftRound(int256(exp2(f)), n + 16) : int256(0);
    }

    function mix(int256 acc, uint256 sum) internal pure returns (int256) {
        uint256 z = sum == 0 ? 1 : sum;
        uint256 c = bitlen(z) - 1;
        uint256 r = 2 ** (31 + c) / z;
        return clamp(rshiftRound(acc * int256(r), 31 + c), FX);
    }

    function swiGlu(int256 g, int256 up) internal pure returns (int256) {
        uint256 z = magnitude(g) * 6196328019;
        uint256 n = z / 2 ** 44;
        uint256 f = (z / 2 ** 12) % 2 ** 32;
        if (f != 0) {
            n += 1;
            f = 2 ** 32 - f;
        }
        int256 e = n <= 31 ? rshiftRound(int256(exp2(f)), n) : int256(0);
        int256 sigma = (g >= 0 ? int256(2 ** 30) : e) * 2 ** 31 / (2 ** 30 + e);
        return clamp(rshiftRound(g * sigma * up, 43), FX);
    }

    /// Ten rounds of Philox4x32.
    function philox(uint256[4] memory x, uint256 k0, uint256 k1)
        internal
        pure
        returns (uint256[4] memory)
    {
        for (uint256 round = 0; round < 10; ++round) {
            uint256 p = 3528531795 * x[0];
            uint256 r = 3449720151 * x[2];
            x = [r / 2 ** 32 ^ x[1] ^ k0, r % 2 ** 32, p / 2 ** 32 ^ x[3] ^ k1, p % 2 ** 32];
            k0 = (k0 + 2654435769) % 2 ** 32;
            k1 = (k1 + 3144134277) % 2 ** 32;
        }
        return x;
    }

    function log2(uint256 z) internal pure returns (uint256) {
        uint256[8] memory l = [
            uint256(1549076464),
            774345888,
            513982710,
            372911710,
            259700344,
            147662443,
            55897937,
            9995641
        ];
        uint256 c = bitlen(z) - 1;
        uint256 f = (z - 2 ** c) * 2 ** (32 - c);
        uint256 a = l[7];
        for (uint256 j = 7; j > 0; --j) {
            a = l[j - 1] - (a * f) / 2 ** 32;
        }
        return c * 2 ** 25 + (a * f) / 2 ** 32 / 32;
    }

    function ratio(uint256 z) internal pure returns (int256 a) {
        int256[8] memory l =
            [int256(567758488), 387280277, 80489556, 25626233, 3345539, 12797524, 8142805, 4586931];
        a = l[7];
        for (uint256 j = 7; j > 0; --j) {
            int256 term = (a * int256(z)) / 2 ** 32;
            a = l[j - 1] + (j > 5 ? -term : term);
        }
    }

    function gumbel(uint256 w) internal pure returns (int256) {
        bool lower = w < 2 ** 31;
        uint256 z = 2 * (lower ? w : 2 ** 32 - 1 - w) + 1;
        int256 e = 33 * 2 ** 25 - int256(log2(z));
        int256 x = lower ? 25 * 2 ** 25 - int256(log2(uint256(e))) : e - shr(ratio(z), 5);
        return rshiftRound(x, 9);
    }

    function key(uint256 seed, uint256 temperature, uint256 t, int256 logit, uint256 index)
        internal
        pure
        returns (int256)
    {
        uint256[4] memory counter = [index / 4, t, 0x53414d50, 0];
        uint256 w = philox(counter, seed % 2 ** 32, seed / 2 ** 32)[index % 4];
        int256 sum = logit * 1512775 + int256(temperature) * gumbel(w);
        return sum * 2 ** 32 + int256(2 ** 32 - 1 - index);
    }
}
