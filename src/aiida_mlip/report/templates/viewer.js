(function () {
  "use strict";
  var sets = JSON.parse(document.getElementById("structure-data").textContent);
  var LEVELS = 24, FOGS = 5, SIZE = 64, LOW = [176, 190, 204], MIDDLE = [240, 200, 90], HIGH = [196, 66, 12];
  function mix(a, b, t) { return a.map(function (x, i) { return Math.round(x + (b[i] - x) * t); }); }
  function colour(t) { return t < 0.5 ? mix(LOW, MIDDLE, 2 * t) : mix(MIDDLE, HIGH, 2 * t - 1); }
  var made = {};
  function foggy(base, fog) { return mix(base, [255, 255, 255], 0.55 * fog / (FOGS - 1)); }
  function ballOf(base, fog) {
    var key = base + ";" + fog;
    if (made[key]) return made[key];
    var tone = foggy(base, fog);
    var ball = document.createElement("canvas"), ink = ball.getContext("2d"), r = SIZE / 2;
    ball.width = ball.height = SIZE;
    var shade = ink.createRadialGradient(r * 0.7, r * 0.6, r * 0.05, r, r, r);
    shade.addColorStop(0, "rgb(" + mix(tone, [255, 255, 255], 0.65) + ")");
    shade.addColorStop(0.5, "rgb(" + tone + ")");
    shade.addColorStop(1, "rgb(" + mix(tone, [20, 28, 36], 0.45) + ")");
    ink.fillStyle = shade;
    ink.beginPath(); ink.arc(r, r, r - 1, 0, 2 * Math.PI); ink.fill();
    return made[key] = ball;
  }
  function times(a, b) {
    var c = [];
    for (var i = 0; i < 3; i++) for (var j = 0; j < 3; j++)
      c.push(a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j]);
    return c;
  }
  function turn(x, y) {
    var cx = Math.cos(x), sx = Math.sin(x), cy = Math.cos(y), sy = Math.sin(y);
    return times([1, 0, 0, 0, cx, -sx, 0, sx, cx], [cy, 0, sy, 0, 1, 0, -sy, 0, cy]);
  }
  function start(axis) {
    return axis === null ? turn(-1.25, 0.35) : [[0, 1, 0, 0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0, 0, 1, 0],
      [1, 0, 0, 0, 1, 0, 0, 0, 1]][axis];
  }
  function near(one) { return one.h ? 1.22 : 1; }
  function stick(seen, from, to) {
    var middle = [0, 1].map(function (i) { return (from[i] + to[i]) / 2; });
    seen.push([from[0], from[1], 0.6 * from[2] + 0.4 * to[2] - 1, from[3], from[4], 0, middle]);
  }
  function Viewer(box) {
    var canvas = box.querySelector("canvas"), which = box.querySelector("select"), facts = box.querySelector("p");
    var least = box.querySelector("input"), ink = canvas.getContext("2d");
    var rotation = start(null), zoom = 1, now = null;
    sets.forEach(function (set, i) {
      var group = document.createElement("optgroup");
      group.label = [set.e, set.m, set.k].filter(Boolean).join(" · ");
      set.s.forEach(function (one, j) {
        var option = document.createElement("option");
        option.value = i + "," + j; option.textContent = one.t + " (" + one.n + " atoms)";
        group.appendChild(option);
      });
      which.appendChild(group);
    });
    function choose() {
      var at = which.value.split(","), set = sets[at[0]], one = set.s[at[1]], n = one.v.length, far = 0;
      var top = Math.max(one.x, 10);
      if (!now || now.one.a !== one.a) { rotation = start(one.a); zoom = near(one); }
      for (var k = 0; k < 3 * n; k += 3) far = Math.max(far, Math.hypot(one.p[k], one.p[k + 1], one.p[k + 2]));
      if (one.h && one.c) far = Math.max(far, 0.8 * Math.hypot(one.c[0] + one.c[3] + one.c[6],
        one.c[1] + one.c[4] + one.c[7], one.c[2] + one.c[5] + one.c[8]) / 2);
      now = { one: one, n: n, far: Math.max(far, 300), top: top };
      facts.textContent = [set.e, set.m, set.k].filter(Boolean).join(" · ") + ": " + one.t + ", " + one.n + " atoms" +
        (n < one.n ? ", the " + n + " around the middle or the defect shown" : n > one.n ? ", repeated" : "") +
        "; " + (one.q || "largest disturbance " + (one.x / 100).toFixed(2));
      draw();
    }
    function project(x, y, z) {
      var m = rotation, depth = m[6] * x + m[7] * y + m[8] * z, away = 1 / (1 - 0.22 * depth / now.far);
      return [(m[0] * x + m[1] * y + m[2] * z) * away, (m[3] * x + m[4] * y + m[5] * z) * away, depth, away];
    }
    function edges(cell, scale, w, h) {
      var corner = function (a, b, c) {
        return project.apply(null, [0, 1, 2].map(function (i) {
          return (a - 0.5) * cell[i] + (b - 0.5) * cell[3 + i] + (c - 0.5) * cell[6 + i];
        }));
      };
      ink.strokeStyle = "#8a97a5"; ink.lineWidth = 1; ink.beginPath();
      [[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]].forEach(function (from) {
        for (var axis = 0; axis < 3; axis++) {
          var to = from.slice(); to[axis] = 1 - to[axis];
          var a = corner.apply(null, from), b = corner.apply(null, to);
          ink.moveTo(w / 2 + a[0] * scale, h / 2 - a[1] * scale);
          ink.lineTo(w / 2 + b[0] * scale, h / 2 - b[1] * scale);
        }
      });
      ink.stroke();
    }
    function draw() {
      if (!now || !canvas.clientWidth) return;
      var ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
      canvas.width = w * ratio; canvas.height = h * ratio;
      ink.setTransform(ratio, 0, 0, ratio, 0, 0); ink.clearRect(0, 0, w, h);
      var scale = 0.43 * Math.min(w, h) / now.far * zoom, p = now.one.p, seen = [];
      var limit = least ? least.value / 100 * now.top : 0, ends = [], bonds = now.one.b || [];
      for (var i = 0; i < now.n; i++) {
        var at = project(p[3 * i], p[3 * i + 1], p[3 * i + 2]);
        var level = Math.min(LEVELS - 1, Math.round(now.one.v[i] / now.top * (LEVELS - 1)));
        at.push(now.one.h ? now.one.g[now.one.h[i]][1] : colour(level / (LEVELS - 1)), now.one.r ? now.one.r[i] : 105);
        ends.push(at);
        if (now.one.v[i] >= limit) seen.push(at);
      }
      for (var k = 0; k < bonds.length; k += 2) {
        if (now.one.v[bonds[k]] < limit || now.one.v[bonds[k + 1]] < limit) continue;
        stick(seen, ends[bonds[k]], ends[bonds[k + 1]]); stick(seen, ends[bonds[k + 1]], ends[bonds[k]]);
      }
      if (now.one.c) edges(now.one.c, scale, w, h);
      seen.sort(function (a, b) { return a[2] - b[2]; });
      seen.forEach(function (at) {
        var fog = Math.round((1 - (at[2] / now.far + 1) / 2) * (FOGS - 1));
        fog = Math.max(0, Math.min(FOGS - 1, fog));
        if (at[6]) {
          ink.strokeStyle = "rgb(" + mix(foggy(at[4], fog), [20, 28, 36], 0.12) + ")";
          ink.lineWidth = Math.max(1, 27 * scale * at[3]); ink.lineCap = "round"; ink.beginPath();
          ink.moveTo(w / 2 + at[0] * scale, h / 2 - at[1] * scale);
          ink.lineTo(w / 2 + at[6][0] * scale, h / 2 - at[6][1] * scale); ink.stroke();
          return;
        }
        var r = at[5] * scale * at[3];
        ink.drawImage(ballOf(at[4], fog), w / 2 + at[0] * scale - r, h / 2 - at[1] * scale - r, 2 * r, 2 * r);
      });
    }
    canvas.addEventListener("pointerdown", function (event) { canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", function (event) {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      rotation = times(turn(event.movementY * 0.008, event.movementX * 0.008), rotation); draw();
    });
    canvas.addEventListener("wheel", function (event) {
      event.preventDefault(); zoom = Math.min(8, Math.max(0.4, zoom * Math.exp(-event.deltaY * 0.0012))); draw();
    }, { passive: false });
    canvas.addEventListener("dblclick", function () { rotation = start(now.one.a); zoom = near(now.one); draw(); });
    which.addEventListener("change", choose);
    if (least) least.addEventListener("input", draw);
    window.addEventListener("resize", draw);
    which.value = box.dataset.start + "," + (box.dataset.frame || sets[box.dataset.start].s.length - 1);
    choose();
  }
  Array.prototype.forEach.call(document.getElementsByClassName("viewer"), Viewer);
})();
